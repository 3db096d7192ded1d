"""Access: one canonical log line and one measurement per request to a service."""

from collections.abc import Callable
from functools import cached_property
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Histogram

from blog.core.logs import get_logger
from blog.core.web import REQUEST_ID_HEADER
from blog.lifecycle.health_endpoints import is_health_endpoint
from blog.lifecycle.member import Member

_CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected before the response

log = get_logger()


def access(service: str, member: Callable[[], Member]) -> Middleware:
    """Make the middleware; `member()` is there once the app is bound."""
    meter = _RequestMeter(service, member)

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_health_endpoint(request.path):
            return await handler(request)
        started = perf_counter()
        status = _CLIENT_CLOSED_REQUEST
        try:
            response = await handler(request)
            status = response.status
        finally:
            meter.record(request, status, perf_counter() - started)
        return response

    return measure


class _RequestMeter:
    """The histogram of a service, made with the first request, and the log line."""

    def __init__(self, service: str, member: Callable[[], Member]) -> None:
        self._service = service
        self._member = member

    @cached_property
    def _seconds(self) -> Histogram:
        return Histogram(
            "blog_request_seconds",
            "Time to respond to a request, by route and status.",
            ("service", "method", "route", "status"),
            registry=self._member().metrics,
        )

    def record(self, request: web.Request, status: int, seconds: float) -> None:
        """Record one request."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        self._seconds.labels(self._service, request.method, route, str(status)).observe(seconds)
        log.info(
            "request.served",
            method=request.method,
            path=request.path,
            status=status,
            ms=round(seconds * 1000, 2),
            request_id=request.headers.get(REQUEST_ID_HEADER),
            trace=request.headers.get("traceparent"),
        )
