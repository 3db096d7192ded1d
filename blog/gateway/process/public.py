"""Public: the public port of one process: door, listener, turns, certificate, as one."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from blog.core.clock import Clock
from blog.core.logs import get_logger, is_json
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

_RENEW_INTERVAL = 1.0

log = get_logger()


class PublicPort:
    """An open port. It answers 503 until `open`. `buckets`: what other processes behind it count, too."""

    def __init__(
        self, settings: Settings, clock: Clock, routes: RouteTable, buckets: TokenBuckets | None = None
    ) -> None:
        self.stats = GatewayStats()
        self.routes = routes
        self.access_log = AccessLog(settings.access_log, is_json=is_json(settings.log_format))
        self.door = HTTPRequestHandler(settings, clock, self.stats, self.access_log, buckets)
        self._clock = clock
        self._settings = settings
        self._certificate = certificate_of(settings)
        self._looked_at_certificate = clock.monotonic()
        self._listener: Listener

    @asynccontextmanager
    async def listening(self, bound: socket.socket) -> AsyncIterator[None]:
        """Listen on `bound` while the body runs; then break off whatever is open."""
        raise_file_limit()
        tls = self._certificate.context if self._certificate else None
        async with (
            self.door.tasks,
            listening(
                bound,
                self.door,
                self.door.places,
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
        """Let requests through to whom `registry_client` knows."""
        turns = LoadBalancer(
            registry_client.discovery,
            registry_client.report_unhealthy,
            self._clock,
            self.stats,
            self.routes,
        )
        inside = HandlerParts(http, registry_client.discovery, health, turns)
        self.door.open(inside, response_timeout=RESPONSE_TIMEOUT)
        stop = turns.follow()
        try:
            yield
        finally:
            stop()

    async def drain(self, unlisted: asyncio.Event, draining: asyncio.Event) -> None:
        """Take no new clients once `unlisted`, and end streams once `draining`: requests are over."""
        await unlisted.wait()
        self._listener.stop()
        await draining.wait()
        self.door.end_streams()

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        self.door.sweep()
        if self._certificate is not None and now - self._looked_at_certificate > _RENEW_INTERVAL:
            self._looked_at_certificate = now
            self._certificate.renew()


def certificate_of(settings: Settings) -> Certificate | None:
    """Return the certificate of the public door, None without one. Raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def raise_file_limit() -> None:
    """Allow this process as many open files as it may have: a client is one, its instance another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
