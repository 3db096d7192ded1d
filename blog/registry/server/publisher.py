"""Publisher: the table as followers have it, and draining instances that all of them know.

One version per batch of changes; a row is encoded once, and a message once per set of followed services.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.registry.messages import EVERY_SERVICE, Drained
from blog.registry.server.session import ServerSession, frame, includes
from blog.registry.server.transitions import StateChange

log = get_logger()


@dataclass(slots=True)
class _PendingDrain:
    """The version in which it was published (None: not yet), and the sessions that must acknowledge."""

    version: int | None = None
    waits_for: set[ServerSession] = field(default_factory=set)


class TablePublisher:
    """The open sessions, and the table as it was sent to them, at `version` of `epoch`."""

    def __init__(self, epoch: str = "") -> None:
        self.version = 0
        self.sessions: set[ServerSession] = set()
        self.awaiting_complete: set[ServerSession] = set()
        """Sessions that have no complete table yet, only the instances that are known so far."""
        self.changed = asyncio.Condition()
        self._epoch = epoch
        self._rows: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._by_follow: defaultdict[frozenset[str], set[ServerSession]] = defaultdict(set)
        self._by_instance: defaultdict[str, set[ServerSession]] = defaultdict(set)
        self._draining: dict[str, _PendingDrain] = {}

    def add(self, session: ServerSession) -> None:
        """Publish to `session` from now on."""
        self.sessions.add(session)
        self._by_follow[session.follow].add(session)

    def set_follow(self, session: ServerSession, follow: frozenset[str]) -> None:
        """Set the services that `session` follows."""
        self._leave_follow(session)
        session.follow = follow
        self._by_follow[follow].add(session)

    def set_instance(self, session: ServerSession, instance_id: str | None) -> None:
        """Set the instance that holds `session`; None: no instance any more."""
        if session.instance_id is not None:
            self._by_instance[session.instance_id].discard(session)
            if not self._by_instance[session.instance_id]:
                del self._by_instance[session.instance_id]
        session.instance_id = instance_id
        if instance_id is not None:
            self._by_instance[instance_id].add(session)

    def remove(self, session: ServerSession) -> None:
        """Publish to `session` no more."""
        self.sessions.discard(session)
        self._leave_follow(session)
        self.awaiting_complete.discard(session)
        self.set_instance(session, None)
        for drain in self._draining.values():
            drain.waits_for.discard(session)
        self.complete_drains()

    def sessions_of(self, instance_id: str) -> tuple[ServerSession, ...]:
        """Return the sessions that an instance holds."""
        return tuple(self._by_instance.get(instance_id, ()))

    def followers(self) -> list[ServerSession]:
        """List the sessions that follow at least one service."""
        return [session for session in self.sessions if session.follow]

    async def publish(self, changes: list[StateChange]) -> None:
        """Send `changes` to every session that follows one of them, as the next version."""
        async with self.changed:
            self.version += 1
            self.changed.notify_all()
        rows = {change.instance.id: self._apply(change) for change in changes}
        for follow, sessions in self._by_follow.items():
            message = self._delta(changes, rows, follow)
            if message is not None:
                for session in sessions:
                    session.sent_version = self.version
                    session.send_frame(message)

    def send_snapshots(self, sessions: Iterable[ServerSession], *, complete: bool) -> None:
        """Send the whole table as it was published up to now."""
        encoded: dict[frozenset[str], bytes] = {}
        for session in sessions:
            if session.follow not in encoded:
                encoded[session.follow] = self._snapshot(session.follow, complete=complete)
            session.sent_version = self.version
            (self.awaiting_complete.discard if complete else self.awaiting_complete.add)(session)
            session.send_frame(encoded[session.follow])

    def send_keep_alives(self) -> None:
        """Send a keep-alive to every session."""
        for session in tuple(self.sessions):
            session.send_keep_alive()

    def start_drain(self, instance_id: str) -> None:
        """Send `Drained` to this instance once every follower has acknowledged that it drains."""
        self._draining[instance_id] = _PendingDrain()

    def acknowledge(self, session: ServerSession, version: int) -> None:
        """Record that a follower uses the table as of `version`."""
        session.acked_version = version
        for drain in self._draining.values():
            if drain.version is not None and version >= drain.version:
                drain.waits_for.discard(session)
        if self._draining:
            self.complete_drains()

    def complete_drains(self) -> None:
        """Send `Drained` to the instances that no follower will select any more."""
        for instance_id, drain in list(self._draining.items()):
            if drain.version is not None and not drain.waits_for:
                del self._draining[instance_id]
                for session in self.sessions_of(instance_id):
                    session.send(Drained())

    def _apply(self, change: StateChange) -> str:
        """Apply one change to the rows; return the row as followers get it."""
        instance = change.instance
        state = str(change.why or instance.state)
        log.info("instance.changed", id=instance.id, state=state)
        if change.why is not None:
            self._remove_row(instance)
            self._draining.pop(instance.id, None)
            return json.dumps({"id": instance.id, "why": change.why})
        if instance.id in self._draining:
            self._draining[instance.id] = _PendingDrain(self.version, self._affected_by(instance))
        row = instance.model_dump_json(exclude={"load"})
        self._rows[instance.service][instance.id] = row
        return row

    def _remove_row(self, instance: Instance) -> None:
        """Remove a row, and its service with the last one: names may come and go for ever."""
        rows = self._rows[instance.service]
        rows.pop(instance.id, None)
        if not rows:
            del self._rows[instance.service]

    def _delta(
        self, changes: list[StateChange], rows: dict[str, str], follow: frozenset[str]
    ) -> bytes | None:
        """Encode the part of `changes` that concerns a set of followed services; None if it is empty."""
        followed = [change for change in changes if includes(follow, change.instance.service)]
        if not followed:
            return None
        put = ",".join(rows[change.instance.id] for change in followed if change.why is None)
        gone = ",".join(rows[change.instance.id] for change in followed if change.why is not None)
        return frame(f'{{"type":"delta","version":{self.version},"put":[{put}],"gone":[{gone}]}}')

    def _snapshot(self, follow: frozenset[str], *, complete: bool) -> bytes:
        rows = ",".join(self._followed_rows(follow))
        head = f'{{"type":"snapshot","epoch":"{self._epoch}","version":{self.version}'
        return frame(f'{head},"complete":{json.dumps(complete)},"instances":[{rows}]}}')

    def _followed_rows(self, follow: frozenset[str]) -> Iterator[str]:
        for service in self._rows if EVERY_SERVICE in follow else follow & self._rows.keys():
            yield from self._rows[service].values()

    def _leave_follow(self, session: ServerSession) -> None:
        self._by_follow[session.follow].discard(session)
        if not self._by_follow[session.follow]:
            del self._by_follow[session.follow]

    def _affected_by(self, instance: Instance) -> set[ServerSession]:
        """Return every session whose owner may send requests to `instance`, except its own."""
        service = instance.service
        followed = (sessions for follow, sessions in self._by_follow.items() if includes(follow, service))
        return set().union(*followed) - self._by_instance.get(instance.id, set())

    def __repr__(self) -> str:
        """Show the version and the number of sessions."""
        return f"<TablePublisher v{self.version}, {len(self.sessions)} sessions>"
