"""Upstream: one try of one request at one instance, over pooled connections.

The interface that the data plane will take over: `send` gives an answer whose body is read in
chunks, or raises `UpstreamError` that says how far the try got.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from blog.core.instance import Instance
from blog.core.web import INSTANCE_HEADER
from blog.gateway.retry import Progress
from blog.http.limits import CONNECT_TIMEOUT, RESPONSE_TIMEOUT, STREAM_TIMEOUT


class UpstreamError(Exception):
    """A try failed: how far it got, and whether the instance is not there at all, or too slow."""

    def __init__(
        self, progress: Progress, why: str, *, refused: bool = False, timed_out: bool = False
    ) -> None:
        super().__init__(why)
        self.progress = progress
        self.why = why
        self.refused = refused
        self.timed_out = timed_out


class Answer(Protocol):
    """What came back: the head, and the body as it comes."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def reason(self) -> str | None:
        """The reason phrase."""
        ...

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers as they came."""
        ...

    @property
    def content(self) -> aiohttp.StreamReader:
        """The body."""
        ...

    def close(self) -> None:
        """Break the connection off."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way to an instance. `body` is None, bytes that can be sent again, or a stream."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterable[bytes] | None


class Upstream:
    """Pooled connections to instances."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["Upstream"]:
        """Open a pool: bytes come through as they are, with no cookies and no redirects."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT, sock_read=STREAM_TIMEOUT
            ),
            trace_configs=[_sending()],
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
        ) as http:
            yield Upstream(http)

    @asynccontextmanager
    async def send(self, instance: Instance, outgoing: Outgoing) -> AsyncIterator[Answer]:
        """Send to `instance` and yield its answer once the head is there.

        Raises UpstreamError. An instance that says it is another one (421) never processed it.
        """
        sent = asyncio.Event()
        url = URL(f"http://{instance.address}{outgoing.target}", encoded=True)
        headers = outgoing.headers.copy()
        headers[INSTANCE_HEADER] = instance.id
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT):
                response = await self._http.request(
                    outgoing.method,
                    url,
                    headers=headers,
                    data=outgoing.body,
                    allow_redirects=False,
                    trace_request_ctx=sent,
                )
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            raise UpstreamError(Progress.NEVER_SENT, str(error), refused=refused) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamError(Progress.NEVER_SENT, "no connection within 1 s") from error
        except TimeoutError as error:
            raise UpstreamError(Progress.SENT, "no answer in time", timed_out=True) from error
        except (aiohttp.ClientError, OSError) as error:
            progress = Progress.SENT if sent.is_set() else Progress.NEVER_SENT
            raise UpstreamError(progress, str(error) or repr(error)) from error
        try:
            if response.status == HTTPStatus.MISDIRECTED_REQUEST:
                raise UpstreamError(Progress.NEVER_SENT, "another instance answers there", refused=True)
            yield response
        finally:
            response.release() if response.content.at_eof() else response.close()


def _sending() -> aiohttp.TraceConfig:
    """Note in the request's context when its head goes out: before that, nothing was sent."""

    async def note(_: object, context: object, __: object) -> None:
        request = getattr(context, "trace_request_ctx", None)
        if isinstance(request, asyncio.Event):
            request.set()

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(note)
    return config
