"""Commands: request → decision → event → log → response. Nothing is half done when one fails.

A retry of the same request, by us or with the same `Idempotency-Key` by the client, through any
replica, appends the same event id, which the log takes once. A decision that is based on outdated rows
is made again.
"""

import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from blog.core.clock import Clock
from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from blog.core.events import Envelope, Event
from blog.core.ids import derived_id, new_id, sha256_hex
from blog.eventlog.wire import Appended

DEADLINE = 5.0
"""Seconds that a command may take in all."""

Decide = Callable[[Meta], Awaitable[Any]]
CatchUp = Callable[[float], Awaitable[None]]

_PERHAPS_STALE = (NotFound, Conflict, Forbidden)  # newer rows might lead to another decision


class EventAppender(Protocol):
    """What a command needs of the bus."""

    async def append(
        self,
        envelopes: list[Envelope],
        *,
        expect: int | None = None,
        types: Collection[str] = (),
        timeout: float = DEADLINE,
    ) -> list[Appended]:
        """Append, and return once the log has the events on disk. Raises Conflict, Unavailable."""
        ...

    async def get(self, event_id: str) -> Envelope | None:
        """Look up an event."""
        ...


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """The parts of a request that determine the ids of its events: equal parts are the same command."""

    method: str
    path: str
    body: bytes
    request_id: str
    author_token: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def hash(self) -> str | None:
        """Identify the request that the idempotency key belongs to; None without a key."""
        if self.idempotency_key is None:
            return None
        return sha256_hex(f"{self.method} {self.path}\n{self.body.hex()}")

    def meta(self, now: datetime) -> Meta:
        """Make the `meta` of one decision; deciding again makes the same ids again."""
        return Meta(
            request_id=self.request_id,
            now=now,
            author_hash=sha256_hex(self.author_token) if self.author_token else None,
            new_id=self._ids("new"),
        )

    def event_ids(self) -> Callable[[], str]:
        """Make the ids of the events: one after the other."""
        return self._ids("event")

    def _ids(self, purpose: str) -> Callable[[], str]:
        if self.idempotency_key is None:
            return new_id
        position = itertools.count()
        scope = (self.method, self.path, self.author_token or "", self.idempotency_key, purpose)
        return lambda: derived_id(*scope, next(position))


class CommandRunner:
    """Runs the commands of one service."""

    def __init__(self, service: str, log: EventAppender, clock: Clock) -> None:
        self._service = service
        self._log = log
        self._clock = clock

    async def run(
        self, request: CommandRequest, decide: Decide, catch_up: CatchUp | None = None
    ) -> Written | Unchanged:
        """Decide, append, and return what was written, or that there was nothing to write.

        `catch_up(timeout)` brings the view to the log's head. Raises what `decide` raises, Unavailable
        when the log does not respond in time, Conflict when the rows that the decision is based on kept
        changing until the deadline, or Invalid for another request with the same idempotency key.
        """
        attempt = _CommandAttempt(request, decide, catch_up, self._clock, self._clock.now())
        decision = await attempt.decide()
        while isinstance(decision, Append):
            try:
                return await self._write(attempt, decision)
            except Conflict as conflict:
                decision = await attempt.redecide(decision, conflict)
        return decision

    async def preview(
        self, request: CommandRequest, decide: Decide, catch_up: CatchUp | None = None
    ) -> Append | Unchanged:
        """Decide as `run` does, and append nothing."""
        return await _CommandAttempt(request, decide, catch_up, self._clock, self._clock.now()).decide()

    async def _write(self, attempt: "_CommandAttempt", append: Append) -> Written:
        request = attempt.request
        event_id = request.event_ids()
        envelopes = [
            Envelope.of(
                event,
                id=event_id(),
                service=self._service,
                time=attempt.now,
                traceparent=request.traceparent,
                requesthash=request.hash,
            )
            for event in append.events
        ]
        appended = await self._log.append(
            envelopes,
            expect=append.expect,
            types=[kind.type for kind in append.types],
            timeout=attempt.time_left(),
        )
        events = list(append.events)
        if request.idempotency_key is not None and any(item.duplicate for item in appended):
            kinds = {type(event).type: type(event) for event in events}
            events = [await self._stored(item, request, kinds) for item in appended]
        return Written(events, appended[-1].sequence, append.before)

    async def _stored(
        self, appended: Appended, request: CommandRequest, kinds: Mapping[str, type[Event]]
    ) -> Event:
        """Read back what the same key wrote before; it must have been the same request."""
        stored = await self._log.get(appended.id)
        if stored is None:
            raise Unavailable("The log cannot return a stored event.", headers={"Retry-After": "1"})
        if stored.requesthash != request.hash or stored.type not in kinds:
            raise Invalid("This Idempotency-Key was used for another request.")
        return kinds[stored.type].model_validate(stored.data)


class _CommandAttempt:
    """One command until the log accepts a decision. Its deadline begins when this is made."""

    def __init__(
        self,
        request: CommandRequest,
        decide: Decide,
        catch_up: CatchUp | None,
        clock: Clock,
        now: datetime,
    ) -> None:
        self.request = request
        self.now = now
        self._decide = decide
        self._catch_up = catch_up
        self._clock = clock
        self._deadline = clock.monotonic() + DEADLINE

    def time_left(self) -> float:
        """Return the seconds until the deadline; 0 or less after it."""
        return self._deadline - self._clock.monotonic()

    async def decide(self) -> Append | Unchanged:
        """Decide; with rows that may be stale, only a decision that the log will check is final.

        An edit that seems to be there already may have been overwritten since.
        """
        try:
            decision = await self._decide_once()
            if isinstance(decision, Append) or self._catch_up is None:
                return decision
        except _PERHAPS_STALE:
            if self._catch_up is None:
                raise
        await self._catch_up(self.time_left())
        return await self._decide_once()

    async def redecide(self, rejected: Append, conflict: Conflict) -> Append | Unchanged:
        """Decide again once the view has the events that caused `conflict`; raise that if it is futile.

        The next decision must be based on more than the one before: one round for each time that the
        log moved on, and no other.
        """
        if rejected.expect is None or self._catch_up is None:
            raise conflict
        try:
            await self._catch_up(self.time_left())
        except Unavailable:
            raise conflict from None
        decision = await self._decide_once()
        if isinstance(decision, Append) and (self.time_left() <= 0 or decision.expect == rejected.expect):
            raise conflict
        return decision

    async def _decide_once(self) -> Append | Unchanged:
        # a new meta each time: the ids begin again
        return as_decision(await self._decide(self.request.meta(self.now)))


def as_decision(decision: Any) -> Append | Unchanged:
    """Convert what a command returned."""
    match decision:
        case Append() | Unchanged():
            append = decision
        case Event():
            append = Append([decision])
        case _:
            append = Append(list(decision or ()))
    if isinstance(append, Append) and not append.events:
        return Unchanged()
    return append
