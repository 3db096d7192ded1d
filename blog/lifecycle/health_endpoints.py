"""Operations: what every instance answers on its own port beside its work, and what it has open.

`/healthz` (the loop turns), `/readyz` (it takes traffic), `/metrics`; 421 for requests that mean
another instance; a count of requests and streams, which draining waits for.
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

# the registry's sockets last as long as the process: draining does not wait for them
_REGISTRY = "/v1/"
_COUNTED = OPERATOR_PATH  # below it, but it is work like any other
_OPERATIONS = ("/healthz", "/readyz", "/metrics")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def is_operation(path: str) -> bool:
    """Tell whether `path` is a probe or the metrics, which nobody counts or logs."""
    return path in _OPERATIONS


def is_probe(path: str) -> bool:
    """Tell whether `path` is what orchestrators ask, who have no token."""
    return path in ("/healthz", "/readyz")


def _is_of_registry(path: str) -> bool:
    return path.startswith(_REGISTRY) and not path.startswith(_COUNTED)


class InFlight:
    """How many there are now, and a way to wait until there are none."""

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
    """The operational side of one instance."""

    def __init__(self, instance_id: str, metrics: CollectorRegistry) -> None:
        self.is_ready = False
        self.requests = InFlight()
        self.streams = InFlight()
        self.running = asyncio.Event()
        self.running.set()
        self._instance_id = instance_id
        self._metrics = metrics

    def install(self, app: web.Application) -> None:
        """Add the routes, and the middlewares around those that `app` has."""
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
        if is_operation(request.path) or _is_of_registry(request.path):
            return await handler(request)
        with self.requests.counted():
            return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return self._answer(HTTPStatus.OK, "alive")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.is_ready:
            return self._answer(HTTPStatus.OK, "ready")
        return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics), headers={"Content-Type": METRICS_TYPE})

    def _answer(self, status: HTTPStatus, text: str) -> web.Response:
        return web.Response(status=status, text=text, headers={INSTANCE_HEADER: self._instance_id})

    def __repr__(self) -> str:
        """Show what is open."""
        return f"<HealthEndpoints: {self.requests.count} requests, {self.streams.count} streams>"
