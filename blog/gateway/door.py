"""Door: what the public port does with every request, around the proxy: checks, names, log line, CORS.

Every error leaves as a problem (RFC 9457) that carries the request's id.
"""

import secrets
from time import perf_counter
from typing import NamedTuple

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict
from prometheus_client import Histogram

from blog.core.errors import BlogError, Unavailable
from blog.core.ids import new_id
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import REQUEST_ID_HEADER, problem
from blog.gateway import cors, openapi
from blog.gateway.headers import TRACEPARENT, check_head, request_id, traceparent
from blog.gateway.proxy import Proxy, Trace, abort
from blog.gateway.routing import NoSuchMethod
from blog.gateway.turns import Turns
from blog.gateway.upstream import Upstream
from blog.http.limits import ANSWER_TIMEOUT, BODY_LIMIT, server_options
from blog.lifecycle.member import Member

_CLIENT_GONE = 499  # nginx's word for a client that went away before the answer
_starting = Unavailable("This gateway is still starting.", headers={hdrs.RETRY_AFTER: "1"})

log = get_logger()


class Opened(NamedTuple):
    """What an open door needs: made once the gateway's member is there."""

    member: Member
    turns: Turns
    proxy: Proxy
    seconds: Histogram


class Door:
    """The public door. It answers 503 until it is opened and a registry has said who is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Opened | None = None

    def open(self, member: Member, turns: Turns, *, answer_timeout: float = ANSWER_TIMEOUT) -> None:
        """Let requests through."""
        proxy = Proxy(
            turns,
            Upstream(member.http),
            names_instance=self._settings.served_by,
            answer_timeout=answer_timeout,
            streaming=member.streaming,
        )
        seconds = Histogram(
            "blog_gateway_request_seconds",
            "Time to answer a request, by who answered and status.",
            ("service", "method", "status"),
            registry=member.metrics,
        )
        self._opened = Opened(member, turns, proxy, seconds)

    def end_streams(self) -> None:
        """End the event streams that go through here."""
        if self._opened is not None:
            self._opened.proxy.end_streams()

    def runner(self, close_timeout: float) -> web.AppRunner:
        """Make the runner; the app has no routes of its own, all is done around its handler."""
        app = web.Application(middlewares=[self._handle], client_max_size=BODY_LIMIT)
        return web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            shutdown_timeout=close_timeout,
            # a client that is gone cancels its request, and so the instance's
            handler_cancellation=True,
            auto_decompress=False,
            **server_options(),
        )

    @web.middleware
    async def _handle(
        self,
        request: web.Request,
        handler: Handler,  # noqa: ARG002 - aiohttp's own 404, never wanted here
    ) -> web.StreamResponse:
        opened = self._opened
        if opened is None or not opened.turns.is_known():
            return problem(_starting, request.headers.get(REQUEST_ID_HEADER))
        await opened.member.operations.running.wait()
        with opened.member.operations.requests.more():
            return await Visit(opened, request, self._settings).answer()

    def __repr__(self) -> str:
        """Show whether it is open."""
        return f"<Door: {'open' if self._opened else 'not open yet'}>"


class Visit:
    """One request of one client."""

    def __init__(self, opened: Opened, request: web.Request, settings: Settings) -> None:
        self._opened = opened
        self._request = request
        self._target = raw_target(request)
        self._path = self._target.partition("?")[0]
        self._id = request_id(request.headers.get(REQUEST_ID_HEADER), new_id)
        parent, is_continued = traceparent(request.headers.get(TRACEPARENT), secrets.token_hex)
        self._trace = Trace({REQUEST_ID_HEADER: self._id, TRACEPARENT: parent}, is_continued)
        self._by: Instance | None = None
        self._has_cors = bool(settings.cors_origins)
        self._origin = cors.allowed_origin(request.headers.get(hdrs.ORIGIN), settings.cors_origins)

    async def answer(self) -> web.StreamResponse:
        """Answer, whatever happens; only the end of the connection comes through."""
        began, status = perf_counter(), _CLIENT_GONE
        try:
            response = await self._answer()
            status = response.status
        finally:
            self._note(status, perf_counter() - began)
        return response

    async def _answer(self) -> web.StreamResponse:
        try:
            return await self._dispatch()
        except BlogError as error:
            return self._problem(error)
        except ConnectionError:
            raise  # the client went away
        except Exception:
            log.exception("request.failed", method=self._request.method, path=self._path)
            if self._request.writer.output_size > 0:
                abort(self._request)
                raise
            return self._problem(BlogError("Something went wrong here; it is not your request."))

    async def _dispatch(self) -> web.StreamResponse:
        request = self._request
        is_http_1_0 = request.version <= HttpVersion10
        check_head(request.raw_path, request.raw_headers, is_http_1_0=is_http_1_0)
        if self._origin is not None and cors.is_preflight(request.method, request.headers):
            return self._preflight(self._origin)
        if self._path == openapi.PATH and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await self._describe()
        served = await self._opened.proxy.serve(request, self._target, self._trace, self._finish)
        self._by = served.instance
        return served.response

    def _preflight(self, origin: str) -> web.Response:
        wanted = self._request.headers[hdrs.ACCESS_CONTROL_REQUEST_METHOD]
        match = self._opened.turns.routes.router.match(wanted, self._path)
        methods = match.allowed if isinstance(match, NoSuchMethod) else (wanted,)
        return web.Response(status=204, headers=cors.preflight(self._request.headers, origin, methods))

    async def _describe(self) -> web.Response:
        member, router = self._opened.member, self._opened.turns.routes.router
        services = {match.service for _, match in router.routes()}
        documents = await openapi.collect(member.http, member.discovery, services)
        response = web.json_response(openapi.merge(documents, router))
        self._finish(response.headers)
        return response

    def _problem(self, error: BlogError) -> web.Response:
        response = problem(error, self._id)
        self._finish(response.headers)
        return response

    def _finish(self, headers: CIMultiDict[str]) -> None:
        """Add to an answer what all answers have."""
        headers[REQUEST_ID_HEADER] = self._id
        if self._has_cors:
            cors.share(headers, self._origin)

    def _note(self, status: int, seconds: float) -> None:
        """Write the one line, and the measurement."""
        method = self._request.method
        service = self._by.service if self._by else "none"
        known = method if method in hdrs.METH_ALL else "other"
        self._opened.seconds.labels(service, known, str(status)).observe(seconds)
        log.info(
            "request.served",
            method=method,
            path=self._path,
            status=status,
            ms=round(seconds * 1000, 2),
            instance=self._by.id if self._by else None,
            request_id=self._id,
            trace=self._trace.fields[TRACEPARENT],
        )


def raw_target(request: web.Request) -> str:
    """Return path and query as they came, percent-encoding and all; absolute forms lose their host."""
    raw = request.raw_path.partition("#")[0]
    return raw if raw.startswith("/") else request.rel_url.raw_path_qs
