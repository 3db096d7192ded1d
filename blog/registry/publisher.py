"""Publisher: tells followers what changed, and draining instances that everybody knows.

One version per batch of changes; encoded once for all who follow the same services.
"""

import asyncio

from blog.core.logs import get_logger
from blog.registry.conversation import Conversation
from blog.registry.membership import Change
from blog.registry.messages import Delta, Drained, Gone

log = get_logger()


class Publisher:
    """The open conversations, and the version of the table that they were told."""

    def __init__(self) -> None:
        self.version = 0
        self.conversations: set[Conversation] = set()
        self.changed = asyncio.Condition()
        self._draining: dict[str, tuple[str, int] | None] = {}

    def has(self, instance_id: str) -> bool:
        """Tell whether an instance holds one of the conversations."""
        return any(talk.instance_id == instance_id for talk in self.conversations)

    async def tell(self, changes: list[Change]) -> None:
        """Send `changes` to all whom they concern, as the next version."""
        async with self.changed:
            self.version += 1
            self.changed.notify_all()
        for change in changes:
            state = change.why or change.instance.state
            log.info("instance.changed", id=change.instance.id, state=str(state))
            self._note_drain(change)
        encoded: dict[frozenset[str], str | None] = {}
        for talk in self.conversations:
            if talk.follow not in encoded:
                encoded[talk.follow] = _delta(self.version, changes, talk)
            text = encoded[talk.follow]
            if text is not None:
                talk.say_text(text)

    def drains(self, instance_id: str) -> None:
        """Tell this instance later that everybody knows of its draining."""
        self._draining[instance_id] = None

    def acked(self, talk: Conversation, version: int) -> None:
        """Note that a follower acts on the table as of `version`."""
        talk.acked = version
        self.settle_drains()

    def settle_drains(self) -> None:
        """Tell draining instances whom nobody will pick any more that this is so."""
        for instance_id, told in list(self._draining.items()):
            if told is not None and self._all_know(instance_id, *told):
                del self._draining[instance_id]
                for talk in self.conversations:
                    if talk.instance_id == instance_id:
                        talk.say(Drained())

    def _note_drain(self, change: Change) -> None:
        instance = change.instance
        if change.why is not None:
            self._draining.pop(instance.id, None)
        elif instance.id in self._draining:
            self._draining[instance.id] = (instance.service, self.version)

    def _all_know(self, instance_id: str, service: str, version: int) -> bool:
        return all(
            talk.acked >= version or talk.instance_id == instance_id
            for talk in self.conversations
            if talk.follows(service)
        )

    def __repr__(self) -> str:
        """Show the version and how many are told."""
        return f"<Publisher v{self.version}, {len(self.conversations)} conversations>"


def _delta(version: int, changes: list[Change], talk: Conversation) -> str | None:
    """Encode what a follow set has to know of `changes`; None if it is nothing."""
    seen = [change for change in changes if talk.follows(change.instance.service)]
    if not seen:
        return None
    return Delta(
        version=version,
        put=tuple(change.instance for change in seen if change.why is None),
        gone=tuple(Gone(id=c.instance.id, why=c.why) for c in seen if c.why is not None),
    ).to_json()
