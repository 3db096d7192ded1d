"""EventLogClient: how an instance meets the log: append, look up, follow. All that others see of the bus.

Every attempt of an append carries the same event ids, so that it is safe to retry.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs

from blog.core.background import TaskSupervisor
from blog.core.backoff import spread
from blog.core.clock import Clock
from blog.core.errors import BlogError, Conflict, Invalid, Malformed, StorageFull, TooLarge, Unavailable
from blog.core.events import BATCH_TYPE, Envelope, Recorded
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.http_client import detail_of
from blog.core.net.instance_client import InstanceClient, InstanceError
from blog.core.printable import printable
from blog.eventlog.append_batcher import AppendBatcher
from blog.eventlog.wire import (
    LOG_HEADER,
    SERVICE,
    Appended,
    Head,
    StreamDecoder,
    decode_appended,
    decode_events,
    decode_head,
    encode_expected_version,
)
from blog.registry.client.discovery import Discovery

_ATTEMPT_TIMEOUT = 2.0  # seconds for one attempt; a bus that hangs may have a successor by then
_PAUSE = (0.02, 0.2)  # seconds between attempts, drawn evenly
_SILENCE = 40.0  # seconds without a byte before a stream counts as broken; the bus sends a page every 15
_READ_BUFFER = 1 << 20  # bytes read ahead while the page before is still being applied
_MAX_PAGE = 256 << 20  # bytes; a page of the largest events has half of that
_REFUSED: dict[int, type[BlogError]] = {
    HTTPStatus.BAD_REQUEST: Malformed,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLarge,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.INSUFFICIENT_STORAGE: StorageFull,
}
"""Refusals of an append that are about its events: another attempt is refused as well."""
_MAX_REASON = 64 << 10  # bytes of a response that only says why not
_SHOWN = 400  # characters of it
_SET_IT = "trying again; the bus and this process need the same BLOG_TOKEN"
_RETRYABLE = frozenset({408, 425, 429})

R = TypeVar("R")

log = get_logger()


@dataclass(frozen=True)
class EventBatch:
    """What a follower gets: events in log order; everything up to `through` has been considered.

    `lines` are the events as they came, one per line; they are parsed when `events` is first asked for.
    """

    log: str
    lines: bytes
    through: int

    @cached_property
    def events(self) -> list[Recorded]:
        """The events. Raises UnreadableEvent for a line that is not a valid event."""
        try:
            return decode_events(self.lines)
        except ValueError as error:
            why = f"The bus sent a line that is not a valid event: {error}."
            raise UnreadableEvent(why, self._readable()) from error

    def _readable(self) -> "EventBatch":
        """Return the part before the first line that cannot be read."""
        lines, through = [], 0
        for line in self.lines.splitlines():
            try:
                through = max([through, *(event.sequence for event in decode_events(line))])
            except ValueError:
                break
            lines.append(line)
        return EventBatch(self.log, b"\n".join(lines), through)


class BusDisconnected(BlogError):
    """The stream from the bus broke, or there is no bus; a follower resumes from where it was."""


class UnreadableEvent(BusDisconnected):
    """The log has an event that cannot be read here: passing it over would make a view wrong.

    `before` is the part of its batch that can be read: what comes before it.
    """

    def __init__(self, detail: str, before: EventBatch) -> None:
        super().__init__(detail)
        self.before = before


class _RetryableError(Exception):
    """The bus did not do it this time; another attempt may work."""


class EventLogClient:
    """Talks to whichever bus `discovery` has ready, over `http`. An async context manager."""

    def __init__(
        self, discovery: Discovery, http: aiohttp.ClientSession, clock: Clock, token: str | None
    ) -> None:
        self._discovery = discovery
        self._instances = InstanceClient(http, token=token)
        self._clock = clock
        self._refusal: str | None = None
        """Why the bus refuses us, if it does."""
        self._tasks = TaskSupervisor("bus-append")
        self._batcher: AppendBatcher[Appended] = AppendBatcher(self._send, self._tasks)

    async def __aenter__(self) -> Self:
        """Be ready to append."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is in flight."""
        await self._tasks.__aexit__()

    async def append(
        self,
        envelopes: Sequence[Envelope],
        *,
        expect: int | None = None,
        types: Collection[str] = (),
        timeout: float = 5.0,
    ) -> list[Appended]:
        """Append `envelopes` as one batch, all or none; return once the log has them on disk.

        With `expect`, the log must have no event of the first envelope's key after that sequence; with
        `types`, none of these types. Raises Conflict when it has one, TooLarge, StorageFull, or
        Unavailable when it was not done in `timeout` seconds (it may be done all the same: append the
        same ids again).
        """
        events = [envelope.to_json() for envelope in envelopes]
        ids = [envelope.id for envelope in envelopes]
        if expect is None:
            return await self._until_done(lambda: _of(ids, self._batcher.append(events)), timeout)
        # what is expected is about these events alone: they travel without others
        body = f"[{','.join(events)}]".encode()
        params = encode_expected_version(expect, types)
        return await self._until_done(lambda: _of(ids, self._send(body, params)), timeout)

    async def _send(self, body: bytes, params: Sequence[tuple[str, str]] = ()) -> list[Appended]:
        """Append a batch: one attempt."""
        headers = {hdrs.CONTENT_TYPE: BATCH_TYPE}
        async with asyncio.timeout(_ATTEMPT_TIMEOUT):
            response = await self._request(
                hdrs.METH_POST, "/events", params=params, data=body, headers=headers
            )
        return _decoded_response(decode_appended, response)

    async def head(self, timeout: float = 5.0) -> Head:
        """Ask which log it is and how long. Raises Unavailable after `timeout` seconds."""

        async def attempt() -> Head:
            body = await self._request(hdrs.METH_GET, "/events/head")
            if body is None:
                raise _RetryableError("it has no head (404)")
            return _decoded_response(decode_head, body)

        return await self._until_done(attempt, timeout)

    async def get(self, event_id: str, timeout: float = 5.0) -> Envelope | None:
        """Look up the event `event_id`; None when the log has none. Raises Unavailable."""

        async def attempt() -> Envelope | None:
            body = await self._request(hdrs.METH_GET, f"/events/{quote(event_id, safe='')}")
            return None if body is None else _decoded_response(Envelope.model_validate_json, body)

        return await self._until_done(attempt, timeout)

    async def follow(self, after: int, types: Collection[str] = ()) -> AsyncGenerator[EventBatch]:
        """Yield what comes after the sequence `after`, of `types` (none named: all), then live.

        One connection; raises BusDisconnected when it breaks.
        """
        instance = self._discovery.next(SERVICE)
        if instance is None:
            raise BusDisconnected("No event bus is known.")
        params = [("after", str(after)), ("follow", "true"), *(("type", name) for name in sorted(types))]
        decoder = StreamDecoder(_MAX_PAGE)
        try:
            async with self._instances.stream(
                instance,
                hdrs.METH_GET,
                "/events",
                params=params,
                silence=_SILENCE,
                read_bufsize=_READ_BUFFER,
            ) as response:
                if response.status != HTTPStatus.OK:
                    async with asyncio.timeout(_ATTEMPT_TIMEOUT):
                        body = await response.read(_MAX_REASON)
                    raise BusDisconnected(f"The bus did not stream: {_why(response.status, body)}.")
                log_id = response.headers.get(LOG_HEADER)
                if log_id is None:
                    raise BusDisconnected(f"The bus responded without {LOG_HEADER}.")
                async for data in response.chunks():
                    for lines, through in _decoded(decoder, data):
                        yield EventBatch(log_id, lines, through)
        except (InstanceError, TimeoutError) as error:
            raise BusDisconnected(f"The stream from the bus broke: {error}.") from error
        raise BusDisconnected("The bus ended the stream.")

    async def _until_done(self, attempt: Callable[[], Awaitable[R]], timeout: float) -> R:
        """Try until it works. Raises Unavailable after `timeout` s, and what is refused for good."""
        deadline = self._clock.monotonic() + timeout
        why = "no event bus is known"
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _ATTEMPT_TIMEOUT)):
                    return await attempt()
            except (_RetryableError, InstanceError, TimeoutError) as error:
                why = str(error) or why
            await asyncio.sleep(min(spread(*_PAUSE), left))
        raise Unavailable(
            f"The event bus did not respond within {timeout:g} s: {why}.", headers={"Retry-After": "1"}
        )

    async def _wait_for_bus(self) -> Instance:
        """Return the bus to ask, once there is one."""
        while True:
            instance = self._discovery.next(SERVICE)
            if instance is not None:
                return instance
            await self._discovery.wait_until(lambda table: bool(table.serving(SERVICE)))

    async def _request(self, method: str, path: str, **options: Any) -> bytes | None:
        """Ask the bus once; return the body of its response, None for 404."""
        bus = await self._wait_for_bus()
        status, headers, body = await self._instances.request(bus, method, path, timeout=None, **options)
        if status == HTTPStatus.OK:
            self._refusal = None
            return body
        if method == hdrs.METH_GET and status == HTTPStatus.NOT_FOUND:
            return None
        refused = _REFUSED.get(status)
        if refused is not None and method == hdrs.METH_POST:
            again = headers.get(hdrs.RETRY_AFTER)
            raise refused(
                detail_of(body) or f"The bus responded with {status}.",
                headers={hdrs.RETRY_AFTER: again} if again else {},
            )
        why = _why(status, body)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _RETRYABLE:
            self._log_refusal(why)
        raise _RetryableError(why)

    def _log_refusal(self, why: str) -> None:
        """Log that a bus refuses us: once, until one does what it is asked for."""
        # another bus may have the address soon, or this one another token: we go on with what we have
        if why != self._refusal:
            self._refusal = why
            log.error("bus.refused", reason=why, next=_SET_IT)


async def _of(ids: Sequence[str], results: Awaitable[list[Appended]]) -> list[Appended]:
    """Return results that are about the events `ids`, in their order; it is safe to append them again."""
    found = await results
    if [result.id for result in found] != ids:
        raise _RetryableError("its response is about other events")
    return found


def _why(status: int, body: bytes) -> str:
    """Return what a response says that is of no use."""
    return ": ".join(filter(None, (f"it responded with {status}", printable(detail_of(body), _SHOWN))))


def _decoded_response(decode: Callable[[bytes], R], body: bytes | None) -> R:
    try:
        return decode(body or b"")
    except ValueError as error:
        why = str(error).partition("\n")[0]
        raise _RetryableError(f"its response cannot be read: {why}") from None


def _decoded(decoder: StreamDecoder, data: bytes) -> Iterator[tuple[bytes, int]]:
    try:
        yield from decoder.feed(data)
    except ValueError as error:
        raise BusDisconnected(f"The bus sent what is not a stream of events: {error}.") from error
