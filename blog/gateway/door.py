"""Door: what the public port does with every request, around the proxy: checks, names, log line, CORS.

Every error leaves as a problem (RFC 9457) that carries the request's id.
"""

import secrets
from time import perf_counter

import aiohttp
from aiohttp import HttpVersion10, hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict
from prometheus_client import Histogram

from blog.core.errors import BlogError, Unavailable
from blog.core.ids import new_id
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import REQUEST_ID_HEADER, problem
from blog.gateway import cors, openapi
from blog.gateway.headers import TRACEPARENT, check_head, request_id, traceparent
from blog.gateway.proxy import Proxy, Trace, abort
from blog.gateway.routing import NoSuchMethod
from blog.gateway.turns import Turns
from blog.gateway.upstream import Upstream
from blog.http.limits import BODY_LIMIT, server_options
from blog.lifecycle.member import Member

_CLIENT_GONE = 499  # nginx's word for a client that went away before the answer
_starting = Unavailable("This gateway is still starting.", headers={hdrs.RETRY_AFTER: "1"})

log = get_logger()


class Door:
    """The public door. It answers 503 until it is opened with the member that it belongs to."""

    def __init__(self, settings: Settings) -> None:
        self.turns: Turns | None = None
        self.proxy: Proxy | None = None
        self._settings = settings
        self._member: Member | None = None
        self._seconds: Histogram | None = None

    def open(self, member: Member, turns: Turns) -> None:
        """Let requests through."""
        self._member, self.turns = member, turns
        self.proxy = Proxy(
            turns,
            Upstream(member.http),
            names_instance=self._settings.served_by,
            streaming=member.streaming,
        )
        self._seconds = Histogram(
            "blog_gateway_request_seconds",
            "Time to answer a request, by who answered and status.",
            ("service", "method", "status"),
            registry=member.metrics,
        )

    def end_streams(self) -> None:
        """End the event streams that go through here."""
        if self.proxy is not None:
            self.proxy.end_streams()

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
        if self._member is None:
            return problem(_starting, request.headers.get(REQUEST_ID_HEADER))
        await self._member.operations.running.wait()
        with self._member.operations.requests.more():
            return await Visit(self, request, self._settings).answer(self._member)

    def measure(self, visit: "Visit", status: int, seconds: float) -> None:
        """Write the one line, and the measurement."""
        method = visit.request.method if visit.request.method in hdrs.METH_ALL else "other"
        if self._seconds is not None:
            self._seconds.labels(visit.service or "none", method, str(status)).observe(seconds)
        log.info(
            "request.served",
            method=visit.request.method,
            path=visit.target.partition("?")[0],
            status=status,
            ms=round(seconds * 1000, 2),
            instance=visit.instance,
            request_id=visit.id,
            trace=visit.trace.fields[TRACEPARENT],
        )


class Visit:
    """One request of one client."""

    def __init__(self, door: Door, request: web.Request, settings: Settings) -> None:
        self.request = request
        self.target = raw_target(request)
        self.id = request_id(request.headers.get(REQUEST_ID_HEADER), new_id)
        parent, is_continued = traceparent(request.headers.get(TRACEPARENT), secrets.token_hex)
        self.trace = Trace({REQUEST_ID_HEADER: self.id, TRACEPARENT: parent}, is_continued)
        self.instance: str | None = None
        self.service: str | None = None
        self._door = door
        self._has_cors = bool(settings.cors_origins)
        self._origin = cors.allowed_origin(request.headers.get(hdrs.ORIGIN), settings.cors_origins)

    async def answer(self, member: Member) -> web.StreamResponse:
        """Answer, whatever happens; only the end of the connection comes through."""
        began, status = perf_counter(), _CLIENT_GONE
        try:
            response = await self._answer(member)
            status = response.status
        finally:
            self._door.measure(self, status, perf_counter() - began)
        return response

    async def _answer(self, member: Member) -> web.StreamResponse:
        try:
            return await self._dispatch(member)
        except BlogError as error:
            return self._problem(error)
        except ConnectionError:
            raise  # the client went away
        except Exception:
            log.exception("request.failed", method=self.request.method, path=self.target)
            if self.request.writer.output_size > 0:
                abort(self.request)
                raise
            return self._problem(BlogError("Something went wrong here; it is not your request."))

    async def _dispatch(self, member: Member) -> web.StreamResponse:
        assert self._door.proxy is not None
        request = self.request
        check_head(
            request.raw_path,
            request.raw_headers,
            is_http_1_0=request.version <= HttpVersion10,
        )
        if self._origin is not None and cors.is_preflight(request.method, request.headers):
            return self._preflight(self._origin)
        path = self.target.partition("?")[0]
        if path == openapi.PATH and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await self._describe(member.http, member)
        served = await self._door.proxy.serve(request, self.target, self.trace, self._finish)
        self.instance, self.service = served.instance.id, served.instance.service
        return served.response

    def _preflight(self, origin: str) -> web.Response:
        assert self._door.turns is not None
        wanted = self.request.headers[hdrs.ACCESS_CONTROL_REQUEST_METHOD]
        path = self.target.partition("?")[0]
        match = self._door.turns.routes.router.match(wanted, path)
        methods = match.allowed if isinstance(match, NoSuchMethod) else (wanted,)
        return web.Response(status=204, headers=cors.preflight(self.request.headers, origin, methods))

    async def _describe(self, http: aiohttp.ClientSession, member: Member) -> web.Response:
        assert self._door.turns is not None
        router = self._door.turns.routes.router
        services = {match.service for _, match in router.routes()}
        documents = await openapi.collect(http, member.discovery, services)
        response = web.json_response(openapi.merge(documents, router))
        self._finish(response.headers)
        return response

    def _problem(self, error: BlogError) -> web.Response:
        response = problem(error, self.id)
        self._finish(response.headers)
        return response

    def _finish(self, headers: CIMultiDict[str]) -> None:
        headers[REQUEST_ID_HEADER] = self.id
        if self._has_cors:
            cors.share(headers, self._origin)


def raw_target(request: web.Request) -> str:
    """Return path and query as they came, percent-encoding and all; absolute forms lose their host."""
    raw = request.raw_path.partition("#")[0]
    return raw if raw.startswith("/") else request.rel_url.raw_path_qs
