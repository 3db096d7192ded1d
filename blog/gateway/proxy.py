"""Proxy: joins a client's request to an instance's answer: route → turn → send → retry → stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from blog.core.background import background
from blog.core.errors import (
    BadGateway,
    BlogError,
    GatewayTimeout,
    Malformed,
    MethodNotAllowed,
    NoRoute,
    TooLarge,
    Unavailable,
)
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.gateway.ejection import Ejection
from blog.gateway.headers import end_to_end, towards_instance
from blog.gateway.retry import Budget, Progress, may_repeat
from blog.gateway.routing import Match, Router
from blog.gateway.upstream import Answer, Outgoing, Upstream, UpstreamError
from blog.http.limits import BODY_LIMIT, HELD_ANSWER
from blog.registry.discovery import Discovery

SERVED_BY_HEADER = "Blog-Served-By"
_CHUNK = 64 * 1024
_EVENT_STREAM = "text/event-stream"
_TOO_LARGE = f"The body is larger than {BODY_LIMIT} bytes."
_SERVER_ERROR = 500
_INNER_HEADERS = ("date", "server", "blog-instance")

log = get_logger()


class Surroundings(Protocol):
    """What the proxy needs of the instance that it is part of."""

    @property
    def discovery(self) -> Discovery:
        """Who is alive."""
        ...

    @property
    def draining(self) -> asyncio.Event:
        """Set when streams have to end."""
        ...

    def streaming(self) -> AbstractContextManager[None]:
        """Count the request as one that does not end by itself."""
        ...

    def now(self) -> float:
        """Tell the time in seconds."""
        ...

    def report(self, instance_id: str, why: str) -> None:
        """Tell the registry who does not answer."""
        ...


class Proxy:
    """Passes requests on to living instances."""

    def __init__(self, around: Surroundings, upstream: Upstream, *, served_by: bool = True) -> None:
        self.router = Router()
        self.ejection = Ejection()
        self._around = around
        self._discovery = around.discovery
        self._upstream = upstream
        self._served_by = served_by
        self._budget = Budget()
        self._declared: object = None
        self._discovery.on_change(self.compile)
        self.compile()

    def compile(self) -> None:
        """Take over the routes of those who may get traffic or soon will."""
        instances = self._discovery.instances.values()
        declared = {(item.service, item.routes, item.started_at) for item in instances if item.routes}
        if declared != self._declared:
            self._declared = declared
            self.router = Router(instances)
            for conflict in self.router.conflicts:
                log.warning("route.conflict", **conflict._asdict())
        self.ejection.forget(self._discovery.instances)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of a client. Raises our errors for what no instance can answer."""
        match = self._route(request)
        self._budget.request()
        outgoing = await self._outgoing(request)
        tried: set[str] = set()
        while True:
            instance = self._turn(match.service, tried)
            if instance is None:
                raise _nobody(match.service, tried)
            try:
                return await self._try(request, instance, outgoing)
            except UpstreamError as error:
                tried.add(instance.id)
                self._note_failure(instance, error)
                if isinstance(outgoing.body, OneWay) and outgoing.body.is_too_large:
                    raise TooLarge(_TOO_LARGE) from error
                if not self._goes_on(error.progress, outgoing):
                    raise _final(error, match.service) from error

    def _route(self, request: web.Request) -> Match:
        if not request.raw_path.startswith("/"):
            raise Malformed("The request's target has to begin with a slash.")
        path = request.rel_url.raw_path
        match = self.router.match(request.method, path)
        if match is not None:
            return match
        allowed = self.router.allowed(path)
        if allowed:
            names = ", ".join(allowed)
            raise MethodNotAllowed(f"Allowed here: {names}.", headers={hdrs.ALLOW: names})
        raise NoRoute(f"Nothing is served at {request.rel_url.path}.")

    def _turn(self, service: str, tried: set[str]) -> Instance | None:
        serving = [item.id for item in self._discovery.serving(service)]
        skip = tried | self.ejection.out(serving, self._around.now())
        return self._discovery.next(service, skip) or self._discovery.next(service, tried)

    async def _outgoing(self, request: web.Request) -> Outgoing:
        headers = towards_instance(
            request.headers,
            client=request.remote or "unknown",
            host=request.host,
            scheme=request.scheme,
        )
        return Outgoing(request.method, request.raw_path, headers, await _body(request, headers))

    async def _try(
        self, request: web.Request, instance: Instance, outgoing: Outgoing
    ) -> web.StreamResponse:
        async with self._upstream.send(instance, outgoing) as answer:
            headers = end_to_end(answer.headers, _INNER_HEADERS)
            if self._served_by:
                headers[SERVED_BY_HEADER] = f"{instance.service}/{instance.id}"
            held = await _held(request.method, answer)
            if answer.status >= _SERVER_ERROR:
                self.ejection.failed(instance.id, self._around.now())
            else:
                self.ejection.succeeded(instance.id)
            if held is not None:
                return _whole(answer, headers, held, request.method)
            if answer.headers.get(hdrs.CONTENT_TYPE, "").startswith(_EVENT_STREAM):
                with self._around.streaming():
                    async with background(_close_when(self._around.draining, answer)):
                        return await _stream(request, answer, headers, self._around.draining)
            return await _stream(request, answer, headers)

    def _note_failure(self, instance: Instance, error: UpstreamError) -> None:
        log.info("upstream.failed", id=instance.id, why=error.why, progress=error.progress.name)
        if self.ejection.failed(instance.id, self._around.now()):
            log.warning("upstream.ejected", id=instance.id)
        if error.refused:
            self._around.report(instance.id, error.why)

    def _goes_on(self, progress: Progress, outgoing: Outgoing) -> bool:
        if not may_repeat(progress, outgoing.method, outgoing.headers):
            return False
        if isinstance(outgoing.body, OneWay) and outgoing.body.is_used:
            return False
        return progress is Progress.NEVER_SENT or self._budget.take(self._around.now())


class OneWay:
    """A body that streams through once; as long as nobody has read of it, it can be sent elsewhere."""

    def __init__(self, request: web.Request) -> None:
        self.is_used = False
        self.is_too_large = False
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pass on what the client sends, up to the limit."""
        self.is_used = True
        seen = 0
        async for chunk in self._request.content.iter_chunked(_CHUNK):
            seen += len(chunk)
            if seen > BODY_LIMIT:
                self.is_too_large = True
                raise TooLarge(_TOO_LARGE)
            yield chunk


async def _body(request: web.Request, headers: CIMultiDict[str]) -> "bytes | OneWay | None":
    """Take in a short body whole, so that it can be sent again; stream a longer one."""
    if not request.body_exists:
        return None
    length = request.content_length
    if length is not None and length > BODY_LIMIT:
        raise TooLarge(_TOO_LARGE)
    if length is not None and length <= HELD_ANSWER:
        return await request.read()
    headers.popall(hdrs.CONTENT_LENGTH, None)
    return OneWay(request)


async def _held(method: str, answer: Answer) -> bytes | None:
    """Take in a short answer to GET whole: if its instance dies on the way, another one is asked."""
    length = answer.headers.get(hdrs.CONTENT_LENGTH)
    if method == hdrs.METH_HEAD or answer.status in (204, 304):
        return b""
    if length is None or not length.isdigit() or int(length) > HELD_ANSWER:
        return None
    try:
        return await answer.content.read(-1)
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamError(Progress.SENT, str(error) or repr(error)) from error


def _whole(answer: Answer, headers: CIMultiDict[str], body: bytes, method: str) -> web.Response:
    if method != hdrs.METH_HEAD:
        headers.popall(hdrs.CONTENT_LENGTH, None)
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)


async def _stream(
    request: web.Request,
    answer: Answer,
    headers: CIMultiDict[str],
    may_end: asyncio.Event | None = None,
) -> web.StreamResponse:
    """Pass the body on chunk by chunk. Once it has begun it can only break, never end cleanly.

    Unless `may_end` is set: a stream of events has no end of its own.
    """
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if not (may_end and may_end.is_set()):
            log.warning("upstream.broke_off", path=request.path, why=str(error))
            if request.transport is not None:
                request.transport.abort()
            return response
    with suppress(ConnectionError):
        await response.write_eof()
    return response


async def _close_when(draining: asyncio.Event, answer: Answer) -> None:
    await draining.wait()
    answer.close()


def _nobody(service: str, tried: set[str]) -> BlogError:
    text = "no instance of it answers" if tried else "no instance of it is running"
    return Unavailable(
        f"The service {service} is not available: {text}.",
        headers={hdrs.RETRY_AFTER: "1"},
        service=service,
    )


def _final(error: UpstreamError, service: str) -> BlogError:
    kind = GatewayTimeout if error.timed_out else BadGateway
    return kind(f"An instance of {service} did not answer this request.", service=service)
