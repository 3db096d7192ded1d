"""Snapshot transfer: a new replica gets the view's file from a ready replica of its own service.

`GET /snapshot?schema=…&log=…`, with the token → the file, `Content-Digest` (RFC 9530), `Blog-Schema`,
`Blog-Log` and `Blog-Sequence`. 409: of another schema or log; 503: busy. One is sent at a time.
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
from typing import IO, NamedTuple, Protocol

from aiohttp import hdrs, web

from blog.core.background import background
from blog.core.backoff import spread
from blog.core.contract import Service
from blog.core.errors import BlogError, Conflict, NotFound, Unavailable
from blog.core.instance import Instance, State
from blog.core.logs import get_logger
from blog.core.net.instance_client import InstanceClient, InstanceError, InstanceStream
from blog.core.numbers import whole
from blog.core.view import View
from blog.core.web import SEQUENCE_HEADER
from blog.eventlog.wire import LOG_HEADER
from blog.lifecycle.member import Member
from blog.runtime.view.files import ViewPosition, remove
from blog.runtime.view.host import ViewHost
from blog.runtime.view.snapshot import SnapshotCopy, SnapshotRejected, check, must_have_space

PATH = "/snapshot"
SCHEMA_HEADER = "Blog-Schema"
DIGEST_HEADER = "Content-Digest"

_CHUNK = 1 << 18  # bytes in memory at a time, on either side
IDLE_TIMEOUT = 15.0
"""Seconds without a byte after which a replica is given up, the making of its copy included."""

_MIN_RATE = 4 << 20  # bytes per second, on the whole, below which reading the log is the better way
_MAX_ROUNDS = 4  # times that all replicas are tried while one is busy with another newcomer
log = get_logger()


class SnapshotOffer(NamedTuple):
    """What the head of a response says of the file that follows."""

    position: ViewPosition
    size: int
    digest: str


class SnapshotFetcher:
    """Fetches a snapshot of `view` from the other replicas of `member`'s service."""

    def __init__(self, member: Member, view: type[View], token: str | None) -> None:
        self._member = member
        self._view = view
        self._client = InstanceClient(
            member.http, token=token, report=member.registry_client.report_unhealthy
        )

    async def fetch(self, target: Path, own: ViewPosition) -> bool:
        """Put a snapshot that is ahead of `own` at `target`; False if no replica has a good one."""
        for _ in range(_MAX_ROUNDS):
            wait: float | None = None
            for replica in self._ready_replicas():
                try:
                    await self._fetch_from(replica, target, own)
                except _ReplicaBusy as busy:
                    wait = busy.retry_after
                except (SnapshotRejected, BlogError, InstanceError, OSError) as error:
                    why = str(error) or type(error).__name__
                    log.warning("snapshot.rejected", replica=replica.id, reason=why)
                else:
                    return True
            remove(target)
            if wait is None:
                return False
            await asyncio.sleep(spread(wait / 2, wait))
        log.warning("snapshot.rejected", replica=None, reason="every replica that has one stayed busy")
        return False

    def _ready_replicas(self) -> list[Instance]:
        own = self._member.instance
        known = self._member.discovery.serving(own.service)
        ready = [item for item in known if item.id != own.id and item.state is State.READY]
        return random.sample(ready, len(ready))

    async def _fetch_from(self, replica: Instance, target: Path, own: ViewPosition) -> None:
        remove(target)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.timeout(IDLE_TIMEOUT) as limit, self._request(replica, own) as response:
            offer = _offer(response, own)
            must_have_space(target.parent, offer.size)
            limit.reschedule(loop.time() + _time_limit(offer.size))
            await _receive(response, target, offer)
        if await asyncio.to_thread(check, target, self._view) != offer.position:
            raise SnapshotRejected("its rows have another position than its headers say")
        log.info(
            "snapshot.fetched",
            replica=replica.id,
            applied=offer.position.applied,
            bytes=offer.size,
            seconds=round(loop.time() - started, 3),
        )

    @asynccontextmanager
    async def _request(self, replica: Instance, own: ViewPosition) -> AsyncIterator[InstanceStream]:
        schema_hash = self._view.schema_hash()
        async with self._client.stream(
            replica,
            hdrs.METH_GET,
            PATH,
            silence=IDLE_TIMEOUT,
            params={"schema": schema_hash, "log": own.log},
            read_bufsize=_CHUNK,
        ) as response:
            if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise _ReplicaBusy(_retry_after(response.headers))
            if response.status == HTTPStatus.CONFLICT:
                raise SnapshotRejected("its view is of another schema or log")
            if response.status != HTTPStatus.OK:
                raise SnapshotRejected(f"its response has the status {response.status}")
            if response.headers.get(SCHEMA_HEADER) != schema_hash:
                raise SnapshotRejected("it is of another schema")
            yield response


class SnapshotSource(Protocol):
    """What a snapshot is made from: a service and its running instance."""

    service: Service
    member: Member
    view: ViewHost | None


class SnapshotServer:
    """Sends copies of the view to new replicas, at most one at a time."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._is_sending = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Respond with the file; the end of this instance, or the client's timeout, ends it."""
        self._must_be_compatible(request)
        if self._is_sending:
            raise Unavailable("Another replica is getting a copy.", headers={"Retry-After": "1"})
        self._is_sending = True
        try:
            return await self._respond(request)
        finally:
            self._is_sending = False

    def _must_be_compatible(self, request: web.Request) -> None:
        """Reject, before any work, a replica that could not use the copy."""
        view, kind = self._source.view, self._source.service.view
        if view is None or kind is None:
            raise NotFound("This service has no view.")
        if request.query.get("schema", kind.schema_hash()) != kind.schema_hash():
            raise Conflict("The view here is of another schema.")
        if request.query.get("log", view.log) != view.log:
            raise Conflict("The view here is of another log.")

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        member = self._source.member
        response = web.StreamResponse()
        response.force_close()  # so that an end before the last byte can be noticed
        is_complete, ended = False, asyncio.Event()

        async def send() -> None:
            nonlocal is_complete
            with suppress(ConnectionError, TimeoutError):
                await self._send(request, response)
                is_complete = True
            ended.set()

        async def end_with_instance() -> None:
            await member.draining.wait()
            ended.set()

        with member.streaming():
            async with background(send(), end_with_instance()):
                await ended.wait()
        if not response.prepared:
            raise Unavailable("This instance is shutting down.")
        if not is_complete and request.transport is not None:
            request.transport.abort()
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        async with self._copied() as (file, copied):
            response.headers.update(_headers_of(copied))
            response.content_length = copied.size
            async with asyncio.timeout(_time_limit(copied.size)):
                await response.prepare(request)
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    await response.write(chunk)
        log.info("snapshot.sent", applied=copied.position.applied, bytes=copied.size)

    @asynccontextmanager
    async def _copied(self) -> AsyncIterator[tuple[IO[bytes], SnapshotCopy]]:
        """Make the copy; the body runs with its file already unlinked, so nothing is left of it."""
        assert self._source.view is not None
        stop = threading.Event()
        try:
            path, copied = await self._source.view.copy(stop)
        finally:
            stop.set()  # the client may be gone: the thread ends at its next step
        with await asyncio.to_thread(path.open, "rb") as file:
            path.unlink()
            yield file, copied


class _ReplicaBusy(Exception):
    """It has a snapshot, but is sending one to another replica."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("it is busy")
        self.retry_after = retry_after


async def _receive(response: InstanceStream, target: Path, offer: SnapshotOffer) -> None:
    """Write the body to `target`. Raises SnapshotRejected when it does not match its headers."""
    digest = hashlib.sha256()
    with await asyncio.to_thread(target.open, "wb") as file:
        async for chunk in response.chunks(_CHUNK):
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    if _digest(digest.digest()) != offer.digest:
        raise SnapshotRejected("its body does not match its digest")


def _time_limit(size: int) -> float:
    """Return the seconds that a transfer of `size` bytes may take, on both sides."""
    return IDLE_TIMEOUT + size / _MIN_RATE


def _headers_of(copied: SnapshotCopy) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: "application/vnd.sqlite3",
        SCHEMA_HEADER: copied.schema_hash,
        LOG_HEADER: copied.position.log,
        SEQUENCE_HEADER: str(copied.position.applied),
        DIGEST_HEADER: _digest(copied.digest),
    }


def _offer(response: InstanceStream, own: ViewPosition) -> SnapshotOffer:
    """Read the headers of a response. Raises SnapshotRejected when the file would be of no use."""
    headers = response.headers
    size, sequence = response.content_length, whole(headers.get(SEQUENCE_HEADER, ""))
    digest = _sha256_of(headers.get(DIGEST_HEADER, ""))
    if size is None or sequence is None or digest is None:
        raise SnapshotRejected("its headers are incomplete")
    if headers.get(LOG_HEADER) != own.log:
        raise SnapshotRejected("it is of another log")
    if sequence <= own.applied:
        raise SnapshotRejected("it is not ahead")
    return SnapshotOffer(ViewPosition(own.log, sequence), size, digest)


def _sha256_of(header: str) -> str | None:
    """Return the member for SHA-256; a later version may send other digests as well (RFC 9530 §2)."""
    members = (member.strip() for member in header.split(","))
    return next((member for member in members if member.startswith("sha-256=")), None)


def _digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _retry_after(headers: Mapping[str, str]) -> float:
    """Read `Retry-After`, capped; 1 if it is missing or not a number of seconds."""
    seconds = whole(headers.get(hdrs.RETRY_AFTER, ""))
    return 1.0 if seconds is None else min(float(seconds), 5.0)
