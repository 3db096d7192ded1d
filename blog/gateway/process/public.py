"""Public port: that of one process: handler, listener, balancer and certificate."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from blog.core.clock import Clock
from blog.core.logs import get_logger, is_json
from blog.core.net.bound_port import BoundPort
from blog.core.net.instance_client import InstanceClient
from blog.core.settings import Settings
from blog.gateway.edge.handler import HandlerParts, HTTPRequestHandler
from blog.gateway.edge.token_buckets import TokenBuckets
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.stats import GatewayStats
from blog.gateway.upstream.balancer import LoadBalancer
from blog.http.limits import RESPONSE_TIMEOUT
from blog.http.listener import Listener, listening
from blog.http.tls import Certificate
from blog.lifecycle.health_endpoints import HealthEndpoints
from blog.registry.client.client import RegistryClient

_RELOAD_INTERVAL = 1.0

log = get_logger()


class PublicPort:
    """An open port. It responds with 503 until `open`. `buckets` may be shared with other processes."""

    def __init__(
        self, settings: Settings, clock: Clock, routes: RouteTable, buckets: TokenBuckets | None = None
    ) -> None:
        self.stats = GatewayStats()
        self.routes = routes
        self.access_log = AccessLog(settings.access_log, is_json=is_json(settings.log_format))
        self.handler = HTTPRequestHandler(settings, clock, self.stats, self.access_log, buckets)
        self._clock = clock
        self._settings = settings
        self._certificate = certificate_of(settings)
        self._certificate_checked_at = clock.monotonic()
        self._listener: Listener

    @asynccontextmanager
    async def listening(self, bound: BoundPort) -> AsyncIterator[None]:
        """Listen on `bound` while the body runs; then abort what is open."""
        raise_file_limit()
        tls = self._certificate.context if self._certificate else None
        async with (
            self.handler.tasks,
            listening(
                bound,
                self.handler,
                self.handler.limiter,
                now=self._clock.monotonic,
                sweep=self._sweep,
                tls=tls,
            ) as self._listener,
        ):
            try:
                yield
            finally:
                self.access_log.flush()

    @asynccontextmanager
    async def open(
        self, registry_client: RegistryClient, http: aiohttp.ClientSession, health: HealthEndpoints
    ) -> AsyncIterator[None]:
        """Let requests through to the instances that `registry_client` knows."""
        balancer = LoadBalancer(
            registry_client.discovery,
            registry_client.report_unhealthy,
            self._clock,
            self.stats,
            self.routes,
        )
        client = InstanceClient(http, report=registry_client.report_unhealthy)
        parts = HandlerParts(client, registry_client.discovery, health, balancer)
        self.handler.open(parts, response_timeout=RESPONSE_TIMEOUT)
        stop = balancer.follow()
        try:
            yield
        finally:
            stop()

    async def drain(self, unlisted: asyncio.Event, draining: asyncio.Event) -> None:
        """Accept no new clients once `unlisted`; end streams once `draining`: then requests are over."""
        await unlisted.wait()
        self._listener.stop()
        await draining.wait()
        self.handler.end_streams()

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        self.handler.sweep()
        if self._certificate is not None and now - self._certificate_checked_at > _RELOAD_INTERVAL:
            self._certificate_checked_at = now
            self._certificate.reload()


def certificate_of(settings: Settings) -> Certificate | None:
    """Return the certificate of the public port, None without one. Raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def raise_file_limit() -> None:
    """Allow this process as many open files as possible: a client is one, its upstream another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
