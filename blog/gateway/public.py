"""The public door: what is around the proxy for every request of a reader."""

from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram

from blog.core.errors import Unavailable
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import problems
from blog.gateway import openapi
from blog.gateway.cors import allows_origins, cors_headers
from blog.gateway.proxy import SERVED_BY_HEADER, Proxy
from blog.gateway.upstream import Upstream
from blog.http.limits import BODY_LIMIT
from blog.lifecycle.member import Member

_CLIENT_GONE = 499  # nginx's word for a client that went away before the answer

log = get_logger()


class Door:
    """The public door's app; it opens once member, upstream and proxy are there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._member: Member | None = None
        self._proxy: Proxy
        self._upstream: Upstream
        self._requests: Counter
        self._seconds: Histogram

    def open(self, member: Member, upstream: Upstream, proxy: Proxy) -> None:
        """Let requests in."""
        self._proxy, self._upstream = proxy, upstream
        self._requests, self._seconds = _metrics(member.metrics)
        self._member = member

    def app(self) -> web.Application:
        """Make the app: everything goes to the proxy."""
        app = web.Application(
            middlewares=[
                self._measured(),
                allows_origins(self._settings.cors_origins),
                problems,
            ],
            client_max_size=BODY_LIMIT,
        )
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._add_cors)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == openapi.PATH and request.method in ("GET", "HEAD"):
            services = {match.service for _, match in self._proxy.router.routes()}
            discovery = self._member.discovery if self._member else None
            assert discovery is not None
            return web.json_response(await openapi.document(discovery, self._upstream, services))
        return await self._proxy.handle(request)

    async def _add_cors(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(cors_headers(request, self._settings.cors_origins))

    def _measured(self) -> Middleware:
        @web.middleware
        async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._member is None:
                raise Unavailable("The gateway is still starting.", headers={"Retry-After": "1"})
            began = perf_counter()
            status, served_by = _CLIENT_GONE, ""
            try:
                with self._member.operations.requests.more():
                    response = await handler(request)
                status = response.status
                served_by = response.headers.get(SERVED_BY_HEADER, "")
            finally:
                self._note(request, status, served_by, perf_counter() - began)
            return response

        return measure

    def _note(self, request: web.Request, status: int, served_by: str, seconds: float) -> None:
        service = served_by.partition("/")[0] or "none"
        self._requests.labels(service, f"{status // 100}xx").inc()
        self._seconds.labels(service).observe(seconds)
        log.info(
            "request.served",
            method=request.method,
            path=request.path,
            status=status,
            ms=round(seconds * 1000, 2),
            by=served_by,
        )


def _metrics(registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    requests = Counter(
        "blog_gateway_requests",
        "Requests of readers, by the service that answered and the class of the status.",
        ("service", "status"),
        registry=registry,
    )
    seconds = Histogram(
        "blog_gateway_seconds",
        "Time from a request's head to the end of its answer.",
        ("service",),
        registry=registry,
    )
    return requests, seconds
