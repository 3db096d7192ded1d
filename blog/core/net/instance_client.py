"""Instance client: one call to one instance, which counts only if it is the instance that is meant.

It decides nothing: which instance to call, whether to retry and what a status means are up to the caller.
Every failure is one of three errors, which say whether the instance may have seen the request.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDictProxy
from yarl import Query

from blog.core.instance import Instance
from blog.core.net.http_client import RESPONSE_LIMIT, read_response
from blog.core.web import INSTANCE_HEADER, bearer

CONNECT_TIMEOUT = 1.0
"""Seconds that an instance has to accept a connection."""

OnUnreachable = Callable[[str, str], None]
"""Takes an instance id and why it is unreachable: `report_unhealthy` of the registry client."""


class InstanceError(Exception):
    """A call to `instance` that got no response; the message says why."""

    def __init__(self, instance: Instance, why: str) -> None:
        super().__init__(why)
        self.instance = instance


class InstanceUnreachable(InstanceError):
    """The instance never got the request: it is safe to send it to another one.

    `is_refused`: nothing listens at the address, or it is not valid; otherwise nothing responded there.
    """

    def __init__(self, instance: Instance, why: str, *, is_refused: bool = False) -> None:
        super().__init__(instance, why)
        self.is_refused = is_refused


class InstanceMisdirected(InstanceUnreachable):
    """Another instance has the address now; it did not process the request (421).

    `responded_by` is the id of that one, None if it sent none.
    """

    def __init__(self, instance: Instance, responded_by: str | None) -> None:
        super().__init__(instance, f"{responded_by or 'another instance'} responds at its address (421)")
        self.responded_by = responded_by


class InstanceFailed(InstanceError):
    """The connection broke, the call timed out (`is_timeout`), or the response is too large.

    `is_sent`: the instance may have seen the request. This is exact for a request with a body; without
    one it is always True.
    """

    def __init__(self, instance: Instance, why: str, *, is_sent: bool, is_timeout: bool = False) -> None:
        super().__init__(instance, why)
        self.is_sent = is_sent
        self.is_timeout = is_timeout


class InstanceResponse(NamedTuple):
    """A response with its whole body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class InstanceClient:
    """Calls instances over `http`, with the bearer token `token`; unreachable ones go to `report`."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        token: str | None = None,
        report: OnUnreachable | None = None,
    ) -> None:
        self._http = http
        self._headers = bearer(token)
        self._report = report

    async def request(  # noqa: PLR0913 - a request has these parts
        self,
        instance: Instance,
        method: str,
        path: str,
        *,
        timeout: float | asyncio.Timeout | None,
        params: Query = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        limit: int = RESPONSE_LIMIT,
    ) -> InstanceResponse:
        """Send a request and return the response of any status, with at most `limit` bytes of body.

        `timeout` is the time for the whole call, in seconds; an `asyncio.timeout` that is not entered
        yet can be rescheduled while the call is under way. Redirects are not followed. Raises
        InstanceError.
        """
        scope = timeout if isinstance(timeout, asyncio.Timeout) else asyncio.timeout(timeout)
        body = None if data is None else _Body(data)
        with self._translated(instance, body):
            async with (
                scope,
                self._call(
                    instance, method, path, None, params=params, headers=headers, data=body
                ) as response,
            ):
                _must_be(instance, response)
                content = await read_response(response, limit)
                return InstanceResponse(response.status, response.headers, content)

    @asynccontextmanager
    async def stream(  # noqa: PLR0913 - a request has these parts
        self,
        instance: Instance,
        method: str,
        path: str,
        *,
        silence: float | None,
        params: Query = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        read_bufsize: int | None = None,
    ) -> AsyncIterator["InstanceStream"]:
        """Send a request and yield the response once its head has arrived; the body is read from it.

        The call fails after `silence` seconds without a byte; a limit for all of it is up to the caller.
        About `read_bufsize` bytes are read ahead. Leaving the `async with` early closes the connection.
        Raises InstanceError, also while reading; errors raised within the `async with` pass unchanged.
        """
        body = None if data is None else _Body(data)
        async with AsyncExitStack() as stack:
            with self._translated(instance, body):
                call = self._call(
                    instance,
                    method,
                    path,
                    silence,
                    params=params,
                    headers=headers,
                    data=body,
                    read_bufsize=read_bufsize,
                )
                response = await stack.enter_async_context(call)
                _must_be(instance, response)
            yield InstanceStream(instance, response)

    def _call(
        self,
        instance: Instance,
        method: str,
        path: str,
        silence: float | None,
        *,
        headers: Mapping[str, str] | None,
        **options: Any,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Begin the request that counts only at `instance`; entered, it gives the response's head."""
        return self._http.request(
            method,
            f"http://{instance.address}{path}",
            headers={**self._headers, **(headers or {}), INSTANCE_HEADER: instance.id},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence),
            allow_redirects=False,
            **options,
        )

    @contextmanager
    def _translated(self, instance: Instance, body: "_Body | None") -> Iterator[None]:
        """Translate the errors of aiohttp, and report an instance that cannot be reached."""
        try:
            with _translated(instance, body):
                yield
        except InstanceUnreachable as error:
            if self._report is not None:
                self._report(instance.id, str(error))
            raise

    def __repr__(self) -> str:
        """Show whether it has a token."""
        return f"<InstanceClient with {'a' if self._headers else 'no'} token>"


class InstanceStream:
    """A response whose body is still coming."""

    __slots__ = ("_instance", "_response")

    def __init__(self, instance: Instance, response: aiohttp.ClientResponse) -> None:
        self._instance = instance
        self._response = response

    @property
    def status(self) -> int:
        """The status."""
        return self._response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers."""
        return self._response.headers

    @property
    def content_length(self) -> int | None:
        """The length of the body in bytes, if the head contains it."""
        return self._response.content_length

    async def read(self, limit: int = RESPONSE_LIMIT) -> bytes:
        """Read the rest of the body. Raises InstanceFailed, also for more than `limit` bytes."""
        with _translated(self._instance, None):
            return await read_response(self._response, limit)

    def chunks(self, size: int | None = None) -> "InstanceChunks":
        """Read the body in pieces of at most `size` bytes, or as they come. Raises InstanceFailed."""
        content = self._response.content
        chunks = content.iter_any() if size is None else content.iter_chunked(size)
        return InstanceChunks(self._instance, aiter(chunks))

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"<InstanceStream of {self._instance.id}: {self.status}>"


class InstanceChunks:
    """The pieces of a body, as an async iterator that needs no closing."""

    __slots__ = ("_chunks", "_instance")

    def __init__(self, instance: Instance, chunks: AsyncIterator[bytes]) -> None:
        self._instance = instance
        self._chunks = chunks

    def __aiter__(self) -> "InstanceChunks":
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._instance, None):
            return await anext(self._chunks)

    def __repr__(self) -> str:
        """Show whose they are."""
        return f"<InstanceChunks of {self._instance.id}>"


class _Body(aiohttp.BytesPayload):
    """A body that knows whether any of it may have been sent."""

    is_sent = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it."""
        self.is_sent = True
        await super().write_with_length(writer, content_length)


@contextmanager
def _translated(instance: Instance, body: _Body | None) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        is_refused = error.errno == errno.ECONNREFUSED
        raise InstanceUnreachable(instance, _why(error), is_refused=is_refused) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise InstanceUnreachable(instance, _why(error)) from error
    except (aiohttp.InvalidURL, UnicodeError) as error:  # no label of a name may be empty, say
        why = f"{instance.address} is not a valid address: {_why(error)}"
        raise InstanceUnreachable(instance, why, is_refused=True) from error
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        is_sent = body is None or body.is_sent
        is_timeout = isinstance(error, TimeoutError)
        raise InstanceFailed(instance, _why(error), is_sent=is_sent, is_timeout=is_timeout) from error


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return str(error) or "no response in time"
    return str(error) or type(error).__name__


def _must_be(instance: Instance, response: aiohttp.ClientResponse) -> None:
    if response.status == HTTPStatus.MISDIRECTED_REQUEST:
        raise InstanceMisdirected(instance, response.headers.get(INSTANCE_HEADER))
