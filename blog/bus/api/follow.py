"""Followers: open streams of the log, in pages: see `eventlog.wire`.

A page is encoded once for all followers that are equally far. One that reads too slowly is cut off, and
is served from disk when it comes back; until then it costs no more than a page.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from aiohttp import hdrs, web

from blog.bus.log.log import EventLog
from blog.bus.log.tail import EventFilter, TailPage
from blog.core.background import background
from blog.core.events import NDJSON_TYPE
from blog.core.logs import get_logger
from blog.core.net.peer import peer_of
from blog.eventlog.wire import LOG_HEADER, encode_page
from blog.lifecycle.member import Member

HEARTBEAT = 15.0
"""Seconds after which a follower to which nothing was sent gets an empty page."""
SEND_TIMEOUT = 30.0
"""Seconds that a follower may take for a page before it is cut off."""
PAGE = 500
"""Events of one page."""

CACHED_PAGES = 32
"""Encoded pages that are kept until the next append: followers near the head are at few positions."""

log = get_logger()


class FollowStreams:
    """The open streams. They can be followed once `open` was called."""

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log
        self._member: Member
        self._positions: dict[object, int] = {}
        self._pages: dict[tuple[int, EventFilter], bytes] = {}
        """What was encoded since the last append, for followers that ask for the same."""
        self.encoded = 0
        """How many pages were encoded (for tests)."""
        event_log.on_append(self._pages.clear)

    def open(self, member: Member) -> None:
        """Know the member that the streams belong to: they end when it drains."""
        self._member = member

    def positions(self) -> Collection[int]:
        """Return the sequence up to which each open stream was sent everything."""
        return self._positions.values()

    async def follow(
        self, request: web.Request, after: int, event_filter: EventFilter
    ) -> web.StreamResponse:
        """Stream what comes after `after`, until the bus drains or the follower disconnects."""
        response = web.StreamResponse(
            headers={hdrs.CONTENT_TYPE: NDJSON_TYPE, LOG_HEADER: self._log.identity}
        )
        with self._member.streaming(), self._append_signal() as appended, suppress(ConnectionError):
            await response.prepare(request)
            try:
                async with background(_set_when(self._member.draining, appended)):
                    await self._feed(response, after, event_filter, appended)
            except TimeoutError:
                log.info("follower.cut_off", address=peer_of(request), head=self._log.head)
                if request.transport is not None:
                    request.transport.abort()  # what it has not read is not kept for it
        return response

    @contextmanager
    def _append_signal(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set with each append."""
        appended = asyncio.Event()
        unsubscribe = self._log.on_append(appended.set)
        try:
            yield appended
        finally:
            unsubscribe()

    async def _feed(
        self, response: web.StreamResponse, after: int, event_filter: EventFilter, appended: asyncio.Event
    ) -> None:
        try:
            while not self._member.draining.is_set():
                appended.clear()
                self._positions[response] = after
                page = await self._log.read(after, PAGE, *event_filter)
                async with asyncio.timeout(SEND_TIMEOUT):
                    await response.write(self._encoded(after, event_filter, page))
                after = self._positions[response] = page.through
                if after >= self._log.head:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(HEARTBEAT):
                            await appended.wait()
        finally:
            self._positions.pop(response, None)

    def _encoded(self, after: int, event_filter: EventFilter, page: TailPage) -> bytes:
        """Encode a page; one that ends at the head is encoded once for all followers."""
        if page.through != self._log.head:
            return _encode(page)
        cached = self._pages.get((after, event_filter))
        if cached is None:
            self.encoded += 1
            if len(self._pages) >= CACHED_PAGES:
                self._pages.clear()
            cached = self._pages[after, event_filter] = _encode(page)
        return cached

    def __repr__(self) -> str:
        """Show how far they are."""
        return f"<FollowStreams: {sorted(self._positions.values())} of {self._log.head}>"


def _encode(page: TailPage) -> bytes:
    return encode_page((entry.envelope for entry in page.entries), page.through)


async def _set_when(happened: asyncio.Event, also: asyncio.Event) -> None:
    await happened.wait()
    also.set()
