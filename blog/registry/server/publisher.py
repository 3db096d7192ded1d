"""Publisher: what followers were told, and draining instances that everybody knows.

One version per batch of changes; a row is encoded once, and a message once for all who follow the same.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.registry.messages import EVERY_SERVICE, Drained
from blog.registry.server.session import ServerSession, frame, wants
from blog.registry.server.transitions import StateChange

log = get_logger()


@dataclass(slots=True)
class _PendingDrain:
    """In which version it was told (None: not yet), and who has to acknowledge that."""

    version: int | None = None
    waits_for: set[ServerSession] = field(default_factory=set)


class TablePublisher:
    """The open conversations, and the table as it was told to them, at `version` of `epoch`."""

    def __init__(self, epoch: str = "") -> None:
        self.version = 0
        self.conversations: set[ServerSession] = set()
        self.waiting: set[ServerSession] = set()
        """Who has no complete table yet, only what is known so far."""
        self.changed = asyncio.Condition()
        self._epoch = epoch
        self._rows: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._alike: defaultdict[frozenset[str], set[ServerSession]] = defaultdict(set)
        self._of_instance: defaultdict[str, set[ServerSession]] = defaultdict(set)
        self._draining: dict[str, _PendingDrain] = {}

    def open(self, talk: ServerSession) -> None:
        """Begin to tell `talk`."""
        self.conversations.add(talk)
        self._alike[talk.follow].add(talk)

    def follows(self, talk: ServerSession, follow: frozenset[str]) -> None:
        """Note what `talk` wants to know of."""
        self._leave_alike(talk)
        talk.follow = follow
        self._alike[follow].add(talk)

    def belongs(self, talk: ServerSession, instance_id: str | None) -> None:
        """Note whose conversation it is; None: nobody's any more."""
        if talk.instance_id is not None:
            self._of_instance[talk.instance_id].discard(talk)
            if not self._of_instance[talk.instance_id]:
                del self._of_instance[talk.instance_id]
        talk.instance_id = instance_id
        if instance_id is not None:
            self._of_instance[instance_id].add(talk)

    def close(self, talk: ServerSession) -> None:
        """Tell `talk` nothing more."""
        self.conversations.discard(talk)
        self._leave_alike(talk)
        self.waiting.discard(talk)
        self.belongs(talk, None)
        for drain in self._draining.values():
            drain.waits_for.discard(talk)
        self.settle_drains()

    def of(self, instance_id: str) -> tuple[ServerSession, ...]:
        """Return the conversations that an instance holds."""
        return tuple(self._of_instance.get(instance_id, ()))

    def followers(self) -> list[ServerSession]:
        """List who follows at least one service."""
        return [talk for talk in self.conversations if talk.follow]

    async def tell(self, changes: list[StateChange]) -> None:
        """Send `changes` to all whom they concern, as the next version."""
        async with self.changed:
            self.version += 1
            self.changed.notify_all()
        rows = {change.instance.id: self._put(change) for change in changes}
        for follow, talks in self._alike.items():
            message = self._delta(changes, rows, follow)
            if message is not None:
                for talk in talks:
                    talk.told = self.version
                    talk.say_frame(message)

    def tell_table(self, talks: Iterable[ServerSession], *, complete: bool) -> None:
        """Send the whole table as it was told up to now."""
        encoded: dict[frozenset[str], bytes] = {}
        for talk in talks:
            if talk.follow not in encoded:
                encoded[talk.follow] = self._snapshot(talk.follow, complete=complete)
            talk.told = self.version
            (self.waiting.discard if complete else self.waiting.add)(talk)
            talk.say_frame(encoded[talk.follow])

    def tell_alive(self) -> None:
        """Let everybody hear from us."""
        for talk in tuple(self.conversations):
            talk.say_alive()

    def drains(self, instance_id: str) -> None:
        """Tell this instance later that everybody knows of its draining."""
        self._draining[instance_id] = _PendingDrain()

    def acked(self, talk: ServerSession, version: int) -> None:
        """Note that a follower acts on the table as of `version`."""
        talk.acked = version
        for drain in self._draining.values():
            if drain.version is not None and version >= drain.version:
                drain.waits_for.discard(talk)
        if self._draining:
            self.settle_drains()

    def settle_drains(self) -> None:
        """Tell draining instances whom nobody will pick any more that this is so."""
        for instance_id, drain in list(self._draining.items()):
            if drain.version is not None and not drain.waits_for:
                del self._draining[instance_id]
                for talk in self.of(instance_id):
                    talk.say(Drained())

    def _put(self, change: StateChange) -> str:
        """Take over one change; return the row as followers get it."""
        instance = change.instance
        state = str(change.why or instance.state)
        log.info("instance.changed", id=instance.id, state=state)
        if change.why is not None:
            self._rows[instance.service].pop(instance.id, None)
            self._draining.pop(instance.id, None)
            return json.dumps({"id": instance.id, "why": change.why})
        if instance.id in self._draining:
            self._draining[instance.id] = _PendingDrain(self.version, self._who_has_to_know(instance))
        row = instance.model_dump_json(exclude={"load"})
        self._rows[instance.service][instance.id] = row
        return row

    def _delta(
        self, changes: list[StateChange], rows: dict[str, str], follow: frozenset[str]
    ) -> bytes | None:
        """Encode what a follow set has to know of `changes`; None if it is nothing."""
        seen = [change for change in changes if wants(follow, change.instance.service)]
        if not seen:
            return None
        put = ",".join(rows[change.instance.id] for change in seen if change.why is None)
        gone = ",".join(rows[change.instance.id] for change in seen if change.why is not None)
        return frame(f'{{"type":"delta","version":{self.version},"put":[{put}],"gone":[{gone}]}}')

    def _snapshot(self, follow: frozenset[str], *, complete: bool) -> bytes:
        rows = ",".join(self._followed(follow))
        head = f'{{"type":"snapshot","epoch":"{self._epoch}","version":{self.version}'
        return frame(f'{head},"complete":{json.dumps(complete)},"instances":[{rows}]}}')

    def _followed(self, follow: frozenset[str]) -> Iterator[str]:
        for service in self._rows if EVERY_SERVICE in follow else follow & self._rows.keys():
            yield from self._rows[service].values()

    def _leave_alike(self, talk: ServerSession) -> None:
        self._alike[talk.follow].discard(talk)
        if not self._alike[talk.follow]:
            del self._alike[talk.follow]

    def _who_has_to_know(self, instance: Instance) -> set[ServerSession]:
        """Return everybody who may send it something, but itself."""
        followed = (talks for follow, talks in self._alike.items() if wants(follow, instance.service))
        return set().union(*followed) - self._of_instance.get(instance.id, set())

    def __repr__(self) -> str:
        """Show the version and how many are told."""
        return f"<TablePublisher v{self.version}, {len(self.conversations)} conversations>"
