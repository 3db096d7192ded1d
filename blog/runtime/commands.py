"""Commands: request → decision → event → log → answer. Nothing is half done when one fails.

A retry of the same request, by us or with the same `Idempotency-Key` by the client, through any
copy, appends the same event id, which the log takes once.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from blog.bus.client import Appended
from blog.core.clock import Clock
from blog.core.contract import Append, Meta
from blog.core.errors import Invalid, NotFound, Unavailable
from blog.core.events import Envelope, Event
from blog.core.ids import derived_id, new_id, sha256_hex

DEADLINE = 5.0
"""Seconds that a command has in all."""


class Log(Protocol):
    """What a command needs of the bus."""

    async def append(
        self, envelopes: list[Envelope], *, expect: int | None = None, timeout: float = DEADLINE
    ) -> list[Appended]:
        """Append, and return once the log has the events on disk."""
        ...

    async def get(self, event_id: str) -> Envelope | None:
        """Look up an event."""
        ...


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """What of a request decides about ids: the same of these is the same command."""

    method: str
    path: str
    body: bytes
    request_id: str
    author_token: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def hash(self) -> str | None:
        """Identify what was asked for with the idempotency key; None without a key."""
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


class Written(NamedTuple):
    """The events as the log has them, the sequence of the last one, and the meta of the decision."""

    events: list[Event]
    sequence: int
    meta: Meta


class Commands:
    """Carries out the commands of one service."""

    def __init__(self, service: str, log: Log, clock: Clock) -> None:
        self._service = service
        self._log = log
        self._clock = clock

    async def run(
        self,
        request: CommandRequest,
        decide: Callable[[Meta], Awaitable[Any]],
        catch_up: Callable[[float], Awaitable[None]] | None = None,
    ) -> Written | None:
        """Decide, append, and return what was written; None when there was nothing to write.

        A NotFound is final only after `catch_up(timeout)`. Raises what `decide` raises, Unavailable
        when the log does not answer in time, Conflict, or Invalid for another request with the
        same idempotency key.
        """
        deadline = self._clock.monotonic() + DEADLINE
        meta = request.meta(self._clock.now())
        try:
            decision = await decide(meta)
        except NotFound:
            if catch_up is None:
                raise
            await catch_up(deadline - self._clock.monotonic())
            meta = request.meta(meta.now)
            decision = await decide(meta)
        append = _as_append(decision)
        if not append.events:
            return None
        return await self._write(request, append, meta, deadline)

    async def _write(
        self, request: CommandRequest, append: Append, meta: Meta, deadline: float
    ) -> Written:
        event_id = request.event_ids()
        envelopes = [
            Envelope.of(
                event,
                id=event_id(),
                service=self._service,
                time=meta.now,
                traceparent=request.traceparent,
                requesthash=request.hash,
            )
            for event in append.events
        ]
        remaining = deadline - self._clock.monotonic()
        appended = await self._log.append(envelopes, expect=append.expect, timeout=remaining)
        events = list(append.events)
        if request.idempotency_key is not None and any(item.duplicate for item in appended):
            kinds = {type(event).type: type(event) for event in events}
            events = [await self._stored(item, request, kinds) for item in appended]
        return Written(events, appended[-1].sequence, meta)

    async def _stored(
        self, appended: Appended, request: CommandRequest, kinds: Mapping[str, type[Event]]
    ) -> Event:
        """Read back what the same key wrote before; it must have been the same request."""
        stored = await self._log.get(appended.id)
        if stored is None:
            raise Unavailable("The log cannot show what it has.", headers={"Retry-After": "1"})
        if stored.requesthash != request.hash or stored.type not in kinds:
            raise Invalid("This Idempotency-Key was used for another request.")
        return kinds[stored.type].model_validate(stored.data)


def _as_append(decision: Any) -> Append:
    """Read what a command returned."""
    match decision:
        case Append():
            return decision
        case Event():
            return Append([decision])
        case _:
            return Append(list(decision or ()))
