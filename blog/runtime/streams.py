"""Streams: events as server-sent events, and what a disconnected client missed.

Each event's id names its log and its sequence. A client that reconnects with the last one
(`Last-Event-ID`, WHATWG HTML §9.2.4) gets what came after it, in order, each once, from the log;
one that missed too much, or knows another log, gets an event `reset` and continues from now.
A new EventSource cannot send that header: it may send the same as `?last_event_id=`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, TypeVar

import pydantic_core
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from blog.core.background import background
from blog.core.contract import Applied, Endpoint, ServerSent
from blog.core.events import Recorded, is_later
from blog.core.logs import get_logger
from blog.core.view import View
from blog.eventlog.client import BusDisconnected, EventBatch, UnreadableEvent
from blog.runtime.binding import ArgumentSource, bind
from blog.runtime.handler_context import HandlerContext
from blog.runtime.view.host import ChangeListener

HEARTBEAT = 15.0
"""Seconds between events `beat`, so that no proxy and no client takes the stream for dead."""
MAX_MISSED = 1000
"""Sequences that a client may have missed and still resume."""
RESUME_TIMEOUT = 1.0
"""Seconds to wait for a view that lags behind the client, and for the log to send what was missed."""
LAST_EVENT_ID = "Last-Event-ID"
LAST_EVENT_ID_PARAMETER = "last_event_id"

# a script does not see comments: an event is how it knows a quiet stream from a dead one
_BEAT = b"event: beat\ndata: {}\n\n"
_ID = re.compile(r"([0-9a-f-]{1,64}):([0-9]{1,18})", re.ASCII)

R = TypeVar("R")
log = get_logger()


class StreamPosition(NamedTuple):
    """The position of a client: it has everything of the log `log` up to `sequence`."""

    log: str
    sequence: int

    def __str__(self) -> str:
        """Write it as the id of an event."""
        return f"{self.log}:{self.sequence}"

    @staticmethod
    def parse(text: str) -> "StreamPosition | None":
        """Read an id; None if it is not one of ours: an EventSource would not survive an error."""
        match = _ID.fullmatch(text)
        return StreamPosition(match[1], int(match[2])) if match else None


class StreamStart(NamedTuple):
    """How a stream begins: its first bytes, what was missed, and the position after which it is live."""

    first: bytes
    missed: list[Applied]
    position: StreamPosition


class ViewChanges:
    """The `changes` of one stream: what was missed, then what the view applies; each once."""

    def __init__(self, context: HandlerContext, listener: ChangeListener, start: StreamStart) -> None:
        self._context = context
        self._listener = listener
        self._start = start

    async def __aiter__(self) -> AsyncIterator[Applied]:
        """Iterate in the order of the log; end if the view follows another one."""
        _, missed, position = self._start
        for item in missed:
            yield item
        async for item in self._listener:
            if self._context.view is None or self._context.view.log != position.log:
                return
            if item.sequence > position.sequence:
                yield item

    def read(self, method: Callable[..., R], *args: Any) -> Awaitable[R]:
        """Call a reading method of the view with `args`."""
        return self._listener.read(method, *args)


def stream(context: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of a stream."""
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        assert context.view is not None
        with context.view.changes() as listener, context.member.streaming():
            start = await _resume(context, _last_position(request))
            given = {
                ArgumentSource.META: context.meta(request),
                ArgumentSource.CHANGES: ViewChanges(context, listener, start),
            }
            items = await context.call(binding, request, given)
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"}
            )
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            with suppress(ConnectionError):
                await response.write(start.first)
                await _send(response, items, start.position.log, context.member.draining)
            return response

    return handle


def _last_position(request: web.Request) -> StreamPosition | None:
    """Return the last position of the client; the header, of a browser that reconnects, is newer."""
    parameter = request.query.get(LAST_EVENT_ID_PARAMETER, "")
    return StreamPosition.parse(request.headers.get(LAST_EVENT_ID) or parameter)


async def _resume(context: HandlerContext, last: StreamPosition | None) -> StreamStart:
    """Work out where a client resumes; its listener has to exist already."""
    current = await _current(context)
    if last is None:
        # an id without data is no event, but is remembered (WHATWG HTML §9.2.6)
        return StreamStart(f"id: {current}\n\n".encode(), [], current)
    if last.log == current.log and await _is_reached(context, last):
        if last.sequence >= current.sequence:
            return StreamStart(b"", [], last)
        missed = await _missed(context, last.sequence, current)
        if missed is not None:
            return StreamStart(b"", missed, current)
    current = await _current(context)
    return StreamStart(_encode(ServerSent("reset", {}, current.sequence), current.log), [], current)


async def _current(context: HandlerContext) -> StreamPosition:
    """Return the position of the view: a listener that exists already gets everything after it."""
    assert context.view is not None
    # the view passes events to its listeners before it publishes its position: wait for that
    await context.view.wait_for(0, None)
    return StreamPosition(context.view.log or "", context.view.applied)


async def _is_reached(context: HandlerContext, position: StreamPosition) -> bool:
    """Wait for a view that lags behind what the client saw elsewhere; not long: it may not exist."""
    assert context.view is not None
    return await context.view.wait_for(position.sequence, RESUME_TIMEOUT, position.log)


async def _missed(context: HandlerContext, after: int, current: StreamPosition) -> list[Applied] | None:
    """Read the events after `after`, up to `current`, from the log; None if they are too many or fail."""
    view = context.service.view
    assert view is not None
    if current.sequence - after > MAX_MISSED:
        return None
    missed: list[Recorded] = []
    try:
        async with (
            asyncio.timeout(RESUME_TIMEOUT),
            aclosing(context.bus.follow(after, frozenset(view.appliers))) as batches,
        ):
            async for batch in batches:
                if batch.log != current.log:
                    return None
                part = _readable(batch, current.sequence)
                missed += part.events
                if part.through >= current.sequence:
                    break
    except (BusDisconnected, TimeoutError) as error:
        log.info("stream.not_resumed", after=after, reason=str(error))
        return None
    found = [_applied(view, recorded) for recorded in missed]
    return [item for item in found if item is not None and item.sequence <= current.sequence]


def _readable(batch: EventBatch, through: int) -> EventBatch:
    """Return the batch, or its part before an event that cannot be read, if that goes to `through`.

    Raises UnreadableEvent if it does not.
    """
    try:
        batch.events  # noqa: B018 - parsed here
    except UnreadableEvent as error:
        if error.before.through < through:
            raise
        return error.before
    return batch


def _applied(view: type[View], recorded: Recorded) -> Applied | None:
    """Read an event; None for one that the view has skipped as well."""
    kind = view.appliers[recorded.type].event
    if is_later(recorded, kind):
        return None
    try:
        return Applied(recorded.sequence, kind.model_validate(recorded.data))
    except ValidationError:
        return None


async def _send(
    response: web.StreamResponse, items: AsyncIterator[ServerSent], log_id: str, draining: asyncio.Event
) -> None:
    """Send events until they or this instance end, and a beat every now and then."""
    ended = asyncio.Event()

    async def pump() -> None:
        with suppress(ConnectionError):
            async for item in items:
                await response.write(_encode(item, log_id))
        ended.set()

    async def beat() -> None:
        with suppress(ConnectionError):  # each for itself: both wait for a client that does not read
            await response.write(b": still here\n\n")
            while True:
                await asyncio.sleep(HEARTBEAT)
                await response.write(_BEAT)
        ended.set()

    async def end_with_instance() -> None:
        await draining.wait()
        ended.set()

    async with background(pump(), beat(), end_with_instance()):
        await ended.wait()


def _encode(item: ServerSent, log_id: str) -> bytes:
    """Encode one event (WHATWG HTML §9.2.6). JSON has no line breaks of its own."""
    lines = [f"event: {item.event}".encode(), b"data: " + pydantic_core.to_json(item.data)]
    if item.sequence is not None:
        lines.insert(0, f"id: {StreamPosition(log_id, item.sequence)}".encode())
    return b"\n".join(lines) + b"\n\n"
