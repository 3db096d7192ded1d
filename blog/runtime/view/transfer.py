"""Siblings: a new instance gets the view's file from a ready instance of its own service.

`GET /snapshot?schema=…&log=…` at the inner door → the file, `Content-Digest` (RFC 9530), `Blog-Schema`,
`Blog-Log` and `Blog-Sequence`. 409: of another schema or log; 503: busy. One at a time is given.
"""

import asyncio
import base64
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO, NamedTuple

import aiohttp
from aiohttp import hdrs, web

from blog.core.background import background
from blog.core.errors import BlogError, Conflict, NotFound, Unavailable
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.core.view import View
from blog.core.web import INSTANCE_HEADER, SEQUENCE_HEADER, bearer
from blog.eventlog.wire import LOG_HEADER
from blog.lifecycle.member import Member
from blog.runtime.handler_context import HandlerContext
from blog.runtime.view.files import ViewPosition, remove
from blog.runtime.view.snapshot import SnapshotCopy, SnapshotRejected, check, must_have_room

PATH = "/snapshot"
SCHEMA_HEADER = "Blog-Schema"
DIGEST_HEADER = "Content-Digest"

_CHUNK = 1 << 18  # bytes in memory at a time, on either side
PATIENCE = 15.0
"""Seconds without a byte after which a sibling is passed over, the making of its copy included."""

_SLOWEST = 4 << 20  # bytes per second, on the whole, below which reading the log is the better way
_ROUNDS = 4  # times that everybody is asked while somebody is busy with another newcomer
log = get_logger()


class SnapshotOffer(NamedTuple):
    """What the head of an answer says of the file that follows."""

    position: ViewPosition
    size: int
    digest: str


class SnapshotFetcher:
    """Who else runs this service, for the `view` of `member`."""

    def __init__(self, member: Member, view: type[View], token: str | None) -> None:
        self._member = member
        self._view = view
        self._headers = bearer(token)

    async def fetch(self, target: Path, own: ViewPosition) -> bool:
        """Put a snapshot that is ahead of `own` at `target`; False when nobody has a good one."""
        for _ in range(_ROUNDS):
            wait: float | None = None
            for sibling in self._ready():
                try:
                    await self._take(sibling, target, own)
                except _SiblingBusy as busy:
                    wait = busy.retry_after
                except (SnapshotRejected, BlogError, aiohttp.ClientError, TimeoutError, OSError) as error:
                    why = str(error) or type(error).__name__
                    log.warning("snapshot.refused", sibling=sibling.id, why=why)
                else:
                    return True
            remove(target)
            if wait is None:
                return False
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - no secret
        log.warning("snapshot.refused", sibling=None, why="who could give one is busy with others")
        return False

    def _ready(self) -> list[Instance]:
        me = self._member.instance
        known = self._member.discovery.serving(me.service)
        ready = [item for item in known if item.id != me.id and item.state is State.READY]
        return random.sample(ready, len(ready))

    async def _take(self, sibling: Instance, target: Path, own: ViewPosition) -> None:
        remove(target)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(PATIENCE) as limit, self._asked(sibling, own) as response:
            offer = _offer(response, own)
            must_have_room(target.parent, offer.size)
            limit.reschedule(loop.time() + _longest(offer.size))
            await _receive(response, target, offer)
        if await asyncio.to_thread(check, target, self._view) != offer.position:
            raise SnapshotRejected("its rows stand elsewhere than it said")
        log.info(
            "snapshot.taken",
            sibling=sibling.id,
            applied=offer.position.applied,
            bytes=offer.size,
            seconds=round(loop.time() - began, 3),
        )

    @asynccontextmanager
    async def _asked(self, sibling: Instance, own: ViewPosition) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._member.http.get(
            f"http://{sibling.address}{PATH}",
            params={"schema": self._view.schema_hash(), "log": own.log},
            headers={**self._headers, INSTANCE_HEADER: sibling.id},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=PATIENCE),
            allow_redirects=False,
            read_bufsize=_CHUNK,
        ) as response:
            if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise _SiblingBusy(_seconds(response.headers))
            if response.status == HTTPStatus.CONFLICT:
                raise SnapshotRejected("its view is of another schema or log")
            if response.status != HTTPStatus.OK:
                raise SnapshotRejected(f"it answered {response.status}")
            if response.headers.get(SCHEMA_HEADER) != self._view.schema_hash():
                raise SnapshotRejected("it is of another schema")
            yield response


class SnapshotServer:
    """The door for newcomers: at most one copy of the view of `host` is on its way."""

    def __init__(self, host: HandlerContext) -> None:
        self._host = host
        self._is_giving = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the file; the end of this instance, or of the client's patience, ends it."""
        self._must_be_alike(request)
        if self._is_giving:
            raise Unavailable("Another sibling is getting a copy.", headers={"Retry-After": "1"})
        self._is_giving = True
        try:
            return await self._give(request)
        finally:
            self._is_giving = False

    def _must_be_alike(self, request: web.Request) -> None:
        """Refuse, before any work, who could not use the copy."""
        view, kind = self._host.view, self._host.service.view
        if view is None or kind is None:
            raise NotFound("This service keeps no view.")
        if request.query.get("schema", kind.schema_hash()) != kind.schema_hash():
            raise Conflict("The view here is of another schema.")
        if request.query.get("log", view.log) != view.log:
            raise Conflict("The view here is of another log.")

    async def _give(self, request: web.Request) -> web.StreamResponse:
        member = self._host.member
        response = web.StreamResponse()
        response.force_close()  # an end before the last byte is one that is seen
        done, ended = False, asyncio.Event()

        async def give() -> None:
            nonlocal done
            with suppress(ConnectionError, TimeoutError):
                await self._send(request, response)
                done = True
            ended.set()

        async def end_with_instance() -> None:
            await member.draining.wait()
            ended.set()

        with member.streaming():
            async with background(give(), end_with_instance()):
                await ended.wait()
        if not response.prepared:
            raise Unavailable("This instance is about to end.")
        if not done and request.transport is not None:
            request.transport.abort()
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        async with self._copied() as (file, made):
            response.headers.update(_head(made))
            response.content_length = made.size
            async with asyncio.timeout(_longest(made.size)):
                await response.prepare(request)
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    await response.write(chunk)
        log.info("snapshot.given", applied=made.position.applied, bytes=made.size)

    @asynccontextmanager
    async def _copied(self) -> AsyncIterator[tuple[IO[bytes], SnapshotCopy]]:
        """Make the copy; it has no name any more when the body runs, so nothing is left of it."""
        assert self._host.view is not None
        stop = threading.Event()
        try:
            path, made = await self._host.view.copy(stop)
        finally:
            stop.set()  # whoever was to get it may be gone: the thread ends at its next step
        with await asyncio.to_thread(path.open, "rb") as file:
            path.unlink()
            yield file, made


class _SiblingBusy(Exception):
    """It would, but later."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("it is busy")
        self.retry_after = retry_after


async def _receive(response: aiohttp.ClientResponse, target: Path, offer: SnapshotOffer) -> None:
    """Write the body to `target`. Raises SnapshotRejected when it is not what the head said."""
    digest = hashlib.sha256()
    with await asyncio.to_thread(target.open, "wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    if _digest(digest.digest()) != offer.digest:
        raise SnapshotRejected("its bytes are not those that it sent off")


def _longest(size: int) -> float:
    """Tell how many seconds so many bytes may take; both sides give up then."""
    return PATIENCE + size / _SLOWEST


def _head(made: SnapshotCopy) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: "application/vnd.sqlite3",
        SCHEMA_HEADER: made.schema_hash,
        LOG_HEADER: made.position.log,
        SEQUENCE_HEADER: str(made.position.applied),
        DIGEST_HEADER: _digest(made.digest),
    }


def _offer(response: aiohttp.ClientResponse, own: ViewPosition) -> SnapshotOffer:
    """Read what an answer says of itself. Raises SnapshotRejected when that is not of use."""
    headers = response.headers
    size, sequence = response.content_length, headers.get(SEQUENCE_HEADER, "")
    if size is None or not (sequence.isascii() and sequence.isdigit()) or DIGEST_HEADER not in headers:
        raise SnapshotRejected("it does not say what it sends")
    if headers.get(LOG_HEADER) != own.log:
        raise SnapshotRejected("it is of another log")
    if int(sequence) <= own.applied:
        raise SnapshotRejected("it is not ahead")
    return SnapshotOffer(ViewPosition(own.log, int(sequence)), size, headers[DIGEST_HEADER])


def _digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _seconds(headers: Mapping[str, str]) -> float:
    """Read `Retry-After`, of which little is believed."""
    value = headers.get(hdrs.RETRY_AFTER, "")
    return min(float(value), 5.0) if value.isascii() and value.isdigit() else 1.0
