"""Access: one canonical log line and one measurement per request that a service answers."""

from collections.abc import Callable
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Histogram

from blog.core.logs import get_logger
from blog.core.web import REQUEST_ID_HEADER
from blog.lifecycle.member import Member
from blog.lifecycle.operations import is_operation

log = get_logger()


def access(service: str, member: Callable[[], Member]) -> Middleware:
    """Make the middleware; the metrics of `member()` are there once the app is bound."""
    seconds: list[Histogram] = []

    def histogram() -> Histogram:
        if not seconds:
            seconds.append(
                Histogram(
                    "blog_request_seconds",
                    "Time to answer a request, by route and status.",
                    ("service", "method", "route", "status"),
                    registry=member().metrics,
                )
            )
        return seconds[0]

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_operation(request.path):
            return await handler(request)
        began = perf_counter()
        status = 499  # nginx's word for a client that went away before the answer
        try:
            response = await handler(request)
            status = response.status
        finally:
            took = perf_counter() - began
            resource = request.match_info.route.resource
            route = resource.canonical if resource else "none"
            histogram().labels(service, request.method, route, str(status)).observe(took)
            log.info(
                "request.served",
                method=request.method,
                path=request.path,
                status=status,
                ms=round(took * 1000, 2),
                request_id=request.headers.get(REQUEST_ID_HEADER),
                trace=request.headers.get("traceparent"),
            )
        return response

    return measure
