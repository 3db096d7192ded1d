"""Followers: open streams of the log. NDJSON: a line per event, and after each page how far it goes.

A page is encoded once for all who are equally far. Who reads too slowly is cut off, and is served from
disk when it comes back from where it was; until then it costs no more than a page.
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
from blog.eventlog.wire import LOG_HEADER
from blog.lifecycle.member import Member

HEARTBEAT = 15.0
"""Seconds after which a quiet follower is told how far it is."""
SLOW = 30.0
"""Seconds that a follower may take for a page before it is cut off."""
PAGE = 500
"""Events of one page."""

KEPT = 32
"""Encoded pages that are kept until the next append: who is near the head is so in few places."""

log = get_logger()


class FollowStreams:
    """The open streams. They can be followed once `open` has said whose they are."""

    def __init__(self, journal: EventLog) -> None:
        self._log = journal
        self._member: Member
        self._at: dict[object, int] = {}
        self._pages: dict[tuple[int, EventFilter], bytes] = {}
        """What was encoded since the last append, for who asks for the same."""
        self.encoded = 0
        """How many pages were encoded (for tests)."""
        journal.on_append(self._pages.clear)

    def open(self, member: Member) -> None:
        """Know the member that the streams belong to: they end when it drains."""
        self._member = member

    def positions(self) -> Collection[int]:
        """List the sequence up to which each open stream was sent everything."""
        return self._at.values()

    async def follow(self, request: web.Request, after: int, wanted: EventFilter) -> web.StreamResponse:
        """Answer with what comes after `after`, until the bus drains or the follower is gone."""
        response = web.StreamResponse(
            headers={hdrs.CONTENT_TYPE: NDJSON_TYPE, LOG_HEADER: self._log.identity}
        )
        with self._member.streaming(), self._news() as news, suppress(ConnectionError):
            await response.prepare(request)
            try:
                async with background(_set_when(self._member.draining, news)):
                    await self._feed(response, after, wanted, news)
            except TimeoutError:
                log.info("follower.cut_off", address=request.remote, head=self._log.head)
                if request.transport is not None:
                    request.transport.abort()  # what it has not read is not kept for it
        return response

    @contextmanager
    def _news(self) -> Iterator[asyncio.Event]:
        """Give an event that is set with each append."""
        news = asyncio.Event()
        stop = self._log.on_append(news.set)
        try:
            yield news
        finally:
            stop()

    async def _feed(
        self, response: web.StreamResponse, after: int, wanted: EventFilter, news: asyncio.Event
    ) -> None:
        try:
            while not self._member.draining.is_set():
                news.clear()
                self._at[response] = after
                page = await self._log.read(after, PAGE, *wanted)
                async with asyncio.timeout(SLOW):
                    await response.write(self._encoded(after, wanted, page))
                after = self._at[response] = page.through
                if after >= self._log.head:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(HEARTBEAT):
                            await news.wait()
        finally:
            self._at.pop(response, None)

    def _encoded(self, after: int, wanted: EventFilter, page: TailPage) -> bytes:
        """Encode a page that ends at the head once for everybody; others are read by one alone."""
        if page.through != self._log.head:
            return encode(page)
        known = self._pages.get((after, wanted))
        if known is None:
            self.encoded += 1
            if len(self._pages) >= KEPT:
                self._pages.clear()
            known = self._pages[after, wanted] = encode(page)
        return known

    def __repr__(self) -> str:
        """Show how far they are."""
        return f"<FollowStreams: {sorted(self._at.values())} of {self._log.head}>"


def encode(page: TailPage) -> bytes:
    """Write a page as NDJSON."""
    lines = [entry.envelope for entry in page.entries]
    return "\n".join([*lines, f'{{"through": {page.through}}}\n']).encode()


async def _set_when(happened: asyncio.Event, also: asyncio.Event) -> None:
    await happened.wait()
    also.set()
