"""Health endpoints: what every instance serves beside its work, and its requests in flight.

`/healthz` (the event loop runs), `/readyz` (it takes traffic), `/metrics`; 421 for requests that are
meant for another instance; a count of requests and streams, which draining waits for.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, generate_latest

from blog.core.operator import PATH as OPERATOR_PATH
from blog.core.web import INSTANCE_HEADER, requires_instance

# sessions with the registry last as long as the process: draining does not wait for them
_REGISTRY = "/v1/"
_COUNTED = OPERATOR_PATH  # below it, but it is work like any other
_ENDPOINTS = ("/healthz", "/readyz", "/metrics")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def is_health_endpoint(path: str) -> bool:
    """Return whether `path` is a probe or the metrics: requests that are neither counted nor logged."""
    return path in _ENDPOINTS


def _is_of_registry(path: str) -> bool:
    return path.startswith(_REGISTRY) and not path.startswith(_COUNTED)


class InFlight:
    """A count of requests in flight, and a way to wait until there are none."""

    def __init__(self) -> None:
        self.count = 0
        self._zero = asyncio.Event()
        self._zero.set()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one more for the time of the body."""
        self.add(1)
        try:
            yield
        finally:
            self.add(-1)

    @contextmanager
    def moved_to(self, other: "InFlight") -> Iterator[None]:
        """Count one in `other` instead of here, for the time of the body."""
        with other.counted():
            self.add(-1)
            try:
                yield
            finally:
                self.add(1)

    async def wait_until_zero(self) -> None:
        """Return when the count is zero."""
        await self._zero.wait()

    def add(self, difference: int) -> None:
        """Add `difference`, which may be negative, to the count."""
        self.count += difference
        if self.count == 0:
            self._zero.set()
        elif self.count == difference:
            self._zero.clear()


class HealthEndpoints:
    """The health endpoints and counters of one instance."""

    def __init__(self, instance_id: str, metrics: CollectorRegistry) -> None:
        self.is_ready = False
        self.requests = InFlight()
        self.streams = InFlight()
        self.running = asyncio.Event()
        self.running.set()
        self._instance_id = instance_id
        self._metrics = metrics

    def install(self, app: web.Application) -> None:
        """Add the routes, and middlewares around those that `app` has."""
        app.middlewares.insert(0, self._count)
        app.middlewares.append(requires_instance(self._instance_id))
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
            ]
        )

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.running.is_set():
            await self.running.wait()
        if is_health_endpoint(request.path) or _is_of_registry(request.path):
            return await handler(request)
        with self.requests.counted():
            return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return self._response(HTTPStatus.OK, "alive")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.is_ready:
            return self._response(HTTPStatus.OK, "ready")
        return self._response(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics), headers={"Content-Type": METRICS_TYPE})

    def _response(self, status: HTTPStatus, text: str) -> web.Response:
        return web.Response(status=status, text=text, headers={INSTANCE_HEADER: self._instance_id})

    def __repr__(self) -> str:
        """Show what is in flight."""
        return f"<HealthEndpoints: {self.requests.count} requests, {self.streams.count} streams>"
