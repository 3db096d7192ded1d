"""Streams: what happens, as server-sent events, and what a client missed that was cut off.

Each event's id says where it stands in which log. A client that comes back with the last one
(`Last-Event-ID`, WHATWG HTML §9.2.4) gets what came behind it, in order, each once, from the log;
one that missed too much, or comes from another log, gets an event `reset` and goes on from now.
A new EventSource cannot send that header: it may say the same as `?last_event_id=`.
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
from blog.eventlog.client import BusLost
from blog.runtime.binding import ArgumentSource, bind
from blog.runtime.handler_context import HandlerContext
from blog.runtime.view.host import ChangeListener

HEARTBEAT = 15.0
"""Seconds between events `beat`, so that nobody on the way, and no client, thinks the stream is dead."""
MOST_MISSED = 1000
"""Places of the log that a client may be behind and still go on."""
PATIENCE = 1.0
"""Seconds to wait for a view that is behind the client, and for the log to say what was missed."""
LAST_EVENT_ID = "Last-Event-ID"
LAST_EVENT_ID_PARAMETER = "last_event_id"

# a script does not see comments: an event is how it knows a quiet stream from a dead one
_BEAT = b"event: beat\ndata: {}\n\n"
_ID = re.compile(r"([0-9a-f-]{1,64}):([0-9]{1,18})", re.ASCII)

R = TypeVar("R")
log = get_logger()


class StreamPosition(NamedTuple):
    """Where a client is: it knows everything of the log `log` up to `sequence`."""

    log: str
    sequence: int

    def __str__(self) -> str:
        """Write it as the id of an event."""
        return f"{self.log}:{self.sequence}"

    @staticmethod
    def parse(text: str) -> "StreamPosition | None":
        """Read an id; None for what never was one of ours: an EventSource would not survive an error."""
        match = _ID.fullmatch(text)
        return StreamPosition(match[1], int(match[2])) if match else None


class StreamStart(NamedTuple):
    """How a stream begins: what it says first, what was missed, and behind what it goes on live."""

    first: bytes
    missed: list[Applied]
    place: StreamPosition


class ViewChanges:
    """The `changes` of one stream: what was missed, then what the view applies; each once."""

    def __init__(self, host: HandlerContext, listener: ChangeListener, start: StreamStart) -> None:
        self._host = host
        self._listener = listener
        self._start = start

    async def __aiter__(self) -> AsyncIterator[Applied]:
        """Iterate in the order of the log; end with it, if the view begins with another one."""
        _, missed, place = self._start
        for item in missed:
            yield item
        async for item in self._listener:
            if self._host.view is None or self._host.view.log != place.log:
                return
            if item.sequence > place.sequence:
                yield item

    def read(self, method: Callable[..., R], *args: Any) -> Awaitable[R]:
        """Call a reading method of the view with `args`."""
        return self._listener.read(method, *args)


def stream(host: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of a stream."""
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        assert host.view is not None
        with host.view.changes() as listener, host.member.streaming():
            start = await _start(host, _came_from(request))
            given = {
                ArgumentSource.META: host.meta(request),
                ArgumentSource.CHANGES: ViewChanges(host, listener, start),
            }
            items = await host.call(binding, request, given)
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"}
            )
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            with suppress(ConnectionError):
                await response.write(start.first)
                await _send(response, items, start.place.log, host.member.draining)
            return response

    return handle


def _came_from(request: web.Request) -> StreamPosition | None:
    """Return where the client was cut off; the header is what a browser that comes back knows last."""
    parameter = request.query.get(LAST_EVENT_ID_PARAMETER, "")
    return StreamPosition.parse(request.headers.get(LAST_EVENT_ID) or parameter)


async def _start(host: HandlerContext, came_from: StreamPosition | None) -> StreamStart:
    """Work out where a client goes on whose listener is there already."""
    here = await _here(host)
    if came_from is None:
        # an id without data is no event, but is remembered (WHATWG HTML §9.2.6)
        return StreamStart(f"id: {here}\n\n".encode(), [], here)
    if came_from.log == here.log and await _has(host, came_from):
        if came_from.sequence >= here.sequence:
            return StreamStart(b"", [], came_from)
        missed = await _missed(host, came_from.sequence, here)
        if missed is not None:
            return StreamStart(b"", missed, here)
    here = await _here(host)
    return StreamStart(_encode(ServerSent("reset", {}, here.sequence), here.log), [], here)


async def _here(host: HandlerContext) -> StreamPosition:
    """Say how far the view is: whoever listens already gets all that comes behind it."""
    assert host.view is not None
    # the view tells its listeners before it says how far it is: wait until it has said so
    await host.view.wait_for(0, None)
    return StreamPosition(host.view.log or "", host.view.applied)


async def _has(host: HandlerContext, place: StreamPosition) -> bool:
    """Wait for a view that is behind what the client has seen elsewhere; but not for what never was."""
    assert host.view is not None
    return await host.view.wait_for(place.sequence, PATIENCE, place.log)


async def _missed(host: HandlerContext, after: int, here: StreamPosition) -> list[Applied] | None:
    """Read from the log what is behind `after`, up to `here`; None if it is too much or not to be had."""
    view = host.service.view
    assert view is not None
    if here.sequence - after > MOST_MISSED:
        return None
    missed: list[Recorded] = []
    try:
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(host.bus.follow(after, frozenset(view.appliers))) as batches,
        ):
            async for batch in batches:
                if batch.log != here.log:
                    return None
                missed += batch.events
                if batch.through >= here.sequence:
                    break
    except (BusLost, TimeoutError) as error:
        log.info("stream.not_resumed", after=after, why=str(error))
        return None
    found = [_applied(view, recorded) for recorded in missed]
    return [item for item in found if item is not None and item.sequence <= here.sequence]


def _applied(view: type[View], recorded: Recorded) -> Applied | None:
    """Read an event; None for what the view has skipped as well."""
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
