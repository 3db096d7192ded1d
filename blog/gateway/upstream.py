"""Upstream: one request to one instance. Knows how an attempt failed, decides nothing.

This is the interface that the gateway's own data plane takes over from aiohttp's client.
"""

import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from aiohttp.client_middlewares import ClientHandlerType
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from blog.core.instance import Instance
from blog.core.web import INSTANCE_HEADER
from blog.http.limits import FIELD_LIMIT, HEAD_LIMIT, IDLE_TIMEOUT

CONNECT_TIMEOUT = 1.0
"""Seconds until an instance that does not take the connection counts as not there."""

_OPTIONS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=IDLE_TIMEOUT)
_MADE_BY_CLIENT = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)


class NeverSent(Exception):
    """The instance has not processed the request, for sure. `is_gone`: others should be told."""

    def __init__(self, why: str, *, is_gone: bool) -> None:
        super().__init__(why)
        self.why = why
        self.is_gone = is_gone


class Broken(Exception):
    """The request was sent, and what came back is no whole answer: nobody knows what was done."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes to an instance. `target` is path and query, byte for byte as they came."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterator[bytes] | None


class Answer:
    """The answer to one request: its head, and its body when it is asked for.

    Leaving the context before the body was read to its end closes the connection.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.reason = response.reason
        self.headers: CIMultiDictProxy[str] = response.headers
        self._response = response

    @property
    def length(self) -> int | None:
        """The length of the body, None when only its end will tell; HEAD, 204 and 304 have none."""
        bodiless = self.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        if self._response.method == hdrs.METH_HEAD or bodiless:
            return 0
        return self._response.content_length

    async def read(self) -> bytes:
        """Read the whole body. Raises Broken."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises Broken when it breaks off."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(f"the answer broke off: {error!r}") from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._response.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show the status."""
        return f"<Answer {self.status} {self.reason}>"


class Upstream:
    """Sends requests to instances, over the pooled connections of `http`, each exactly once."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def ask(self, instance: Instance, outgoing: Outgoing) -> Answer:
        """Send and wait for the head of the answer. Raises NeverSent or Broken.

        Nothing is decompressed, redirected or sent twice. The caller closes the answer.
        """
        headers = outgoing.headers.copy()
        headers[INSTANCE_HEADER] = instance.id
        try:
            response = await self._http.request(
                outgoing.method,
                URL(f"http://{instance.address}{outgoing.target}", encoded=True),
                headers=headers,
                skip_auto_headers=_MADE_BY_CLIENT,
                data=outgoing.body,
                allow_redirects=False,
                auto_decompress=False,
                timeout=_OPTIONS,
                max_line_size=HEAD_LIMIT,
                max_field_size=HEAD_LIMIT,
                max_headers=FIELD_LIMIT * 2,
                middlewares=(_only_once,),
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise NeverSent("connecting timed out", is_gone=True) from error
        except aiohttp.ClientConnectorError as error:
            raise NeverSent(_why(error), is_gone=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(f"no answer: {error!r}") from error
        if response.status == HTTPStatus.MISDIRECTED_REQUEST:
            response.close()
            raise NeverSent("another instance answers at its address (421)", is_gone=True)
        return Answer(response)


async def _only_once(request: aiohttp.ClientRequest, send: ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending again by itself when a pooled connection breaks: that is ours to decide.

    It does so for idempotent methods, to the same instance, and would hide that it did.
    """
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Broken(f"no answer: {error!r}") from error


def _why(error: aiohttp.ClientConnectorError) -> str:
    refused = error.os_error.errno == errno.ECONNREFUSED
    return "connection refused" if refused else f"cannot connect: {error.os_error}"
