"""Member: an instance among others: a bound port, sessions with registries, and an orderly end.

Bind → join as `starting` → (the program catches up) → `ready` → drain → leave. Leaving the context in
any other way is a crash: listener and connections close without a `leave`.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from blog.core.background import background
from blog.core.instance import Instance, Load, Route
from blog.core.logs import get_logger
from blog.core.net.address import Address
from blog.core.net.http_client import client_session
from blog.core.net.http_server import app_runner
from blog.core.net.resolver import connector
from blog.core.settings import Settings
from blog.lifecycle.health_endpoints import HealthEndpoints
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.own_address import OwnAddress, ReachedRegistry, default_route
from blog.lifecycle.ports import FastPath, listen, sweep
from blog.lifecycle.registries import own_url, registries_of
from blog.lifecycle.run_file import WrittenRunFile, run_file
from blog.registry.client.client import RegistryClient
from blog.registry.client.discovery import Discovery

DRAIN_DEADLINE = 8.5
"""Seconds from the request to stop until the end, whatever is still in flight (Docker kills after 10)."""

_LAG_INTERVAL = 0.25
_CLOSE_TIMEOUT = 0.05  # what is in flight after the drain is cut; aiohttp reads 0 as "for ever"


log = get_logger()


class Member:
    """A running instance, made by `Member.join`."""

    def __init__(self, lifecycle: Lifecycle, instance: Instance) -> None:
        self.lifecycle = lifecycle
        self.clock = lifecycle.clock
        self.metrics = CollectorRegistry()
        self.health = HealthEndpoints(instance.id, self.metrics)
        self.unlisted = asyncio.Event()
        """Set while draining, once no follower sends new requests here."""
        self.draining = asyncio.Event()
        self.http: aiohttp.ClientSession
        self.registry_client: RegistryClient
        self.registries: tuple[str, ...]
        """The URLs where it announces itself, its own registry first."""
        self._runner: web.AppRunner
        self._fast_path: FastPath | None = None
        self._run_file: WrittenRunFile
        self._instance = instance
        self._loop_lag = 0.0

    @staticmethod
    @asynccontextmanager
    async def join(  # noqa: PLR0913 - the whole composition of an instance, in one place
        lifecycle: Lifecycle,
        settings: Settings,
        app: web.Application,
        *,
        service: str,
        routes: tuple[Route, ...] = (),
        reactions: tuple[str, ...] = (),
        metadata: Mapping[str, str] | None = None,
        follow: Collection[str] = (),
        runner_options: Mapping[str, Any] | None = None,
        port: tuple[str, int] | None = None,
        own_registry: ReachedRegistry | None = None,
        fast_path: FastPath | None = None,
    ) -> AsyncIterator["Member"]:
        """Bind `app` and join the others as `starting`.

        `runner_options` are for aiohttp's AppRunner (limits); `fast_path` takes connections before `app`.
        `port` is a setting's name and value if another than BLOG_PORT is meant. `own_registry` is
        a registry that is mounted on `app` itself. Raises SettingsError when the port is taken.
        """
        instance = Instance.announce(
            service,
            address=str(Address.of(settings.host, 0)),
            started_at=lifecycle.clock.now(),
            version=version("blog"),
            routes=routes,
            reactions=reactions,
            metadata={"pid": str(os.getpid()), "host": socket.gethostname(), **(metadata or {})},
        )
        member = Member(lifecycle, instance)
        member.health.install(app)
        async with AsyncExitStack() as stack:
            close = await member._bind(stack, app, runner_options or {}, fast_path)
            name_and_port = port or ("BLOG_PORT", settings.port)
            address = await listen(member._runner, settings.host, *name_and_port, fast_path=fast_path)
            member._run_file = stack.enter_context(run_file(settings.data_dir, instance.id, address))
            await member._open_sessions(stack, settings, address, follow, own_registry)
            # a second time, to come first in a crash: the probe that follows must be refused
            stack.push_async_callback(close)
            await stack.enter_async_context(background(member._measure_lag()))
            lifecycle.bind(member)
            yield member

    async def _bind(
        self,
        stack: AsyncExitStack,
        app: web.Application,
        runner_options: Mapping[str, Any],
        fast_path: FastPath | None,
    ) -> Callable[[], Awaitable[None]]:
        """Make the server of `app`; return what closes it."""
        self._fast_path = fast_path
        self._runner = app_runner(app, shutdown_timeout=_CLOSE_TIMEOUT, **runner_options)
        await self._runner.setup()
        if fast_path is not None:
            await stack.enter_async_context(background(sweep(fast_path)))

        async def close() -> None:
            if fast_path is not None:
                fast_path.close()
            await self._runner.cleanup()

        stack.push_async_callback(close)
        return close

    async def _open_sessions(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        address: str,
        follow: Collection[str],
        own: ReachedRegistry | None,
    ) -> None:
        """Open the HTTP client and the sessions, which announce us; `own` is our own registry."""
        self.registries = registries_of(settings, own_url(address) if own else None)
        self.http = await stack.enter_async_context(_client())
        self.registry_client = await stack.enter_async_context(
            RegistryClient(
                http=self.http,
                registries=self.registries,
                clock=self.clock,
                instance=self._instance.model_copy(update={"address": address}),
                advertise=settings.advertise,
                # the local end of a loopback connection does not say where others reach us
                elsewhere=default_route(address) if own else None,
                follow=follow,
                token=settings.secret,
                load=self._load,
            )
        )
        if own is not None and settings.advertise is None:
            own_address = OwnAddress(address, self.registry_client.reached_at)
            own.on_reached = own_address.reached_at
            await stack.enter_async_context(background(own_address.look_up(settings.registry)))

    @property
    def instance(self) -> Instance:
        """The instance as it announces itself."""
        return self.registry_client.instance or self._instance

    @property
    def discovery(self) -> Discovery:
        """The table of the services that this member follows."""
        return self.registry_client.discovery

    async def ready(self) -> None:
        """Respond to `/readyz` with 200 from now on, and return once the registry has dialled back."""
        self.health.is_ready = True
        await self.registry_client.ready()
        self._run_file.mark_ready()
        log.info("instance.ready", id=self.instance.id, address=self.instance.address)

    async def serve_until_stopped(self) -> None:
        """Wait until asked to stop; then drain, finish requests, end streams, leave."""
        await self.lifecycle.stopping.wait()
        log.info("instance.draining", id=self.instance.id)
        self.health.is_ready = False
        try:
            async with asyncio.timeout(DRAIN_DEADLINE):
                await self.registry_client.drain()
                self.unlisted.set()
                await self.health.requests.wait_until_zero()
                self.draining.set()
                await self.health.streams.wait_until_zero()
        except TimeoutError:
            log.warning("instance.drain_timed_out", id=self.instance.id, open=repr(self.health))
        self.unlisted.set()
        self.draining.set()
        await self.registry_client.leave()
        log.info("instance.left", id=self.instance.id)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count the current request as a stream: it ends when `draining` is set, not by itself."""
        with self.health.requests.moved_to(self.health.streams):
            yield

    def crash(self) -> None:
        """Abort all connections and respond no more, as after kill -9 (for tests).

        The caller has to cancel the task of this instance after that.
        """
        self.pause()
        if self._fast_path is not None:
            self._fast_path.close()
        server = self._runner.server
        for connection in server.connections if server else ():
            if connection.transport is not None:
                connection.transport.abort()

    def pause(self) -> None:
        """Behave like a stopped process: heartbeats and responses wait until `resume` (for tests)."""
        self.health.running.clear()
        self.registry_client.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.health.running.set()
        self.registry_client.resume()

    def _load(self) -> Load:
        return Load(in_flight=self.health.requests.count, loop_lag_ms=self._loop_lag * 1000)

    async def _measure_lag(self) -> None:
        """Measure how late this event loop wakes: the latency that is ours, not the network's."""
        while True:
            before = self.clock.monotonic()
            await asyncio.sleep(_LAG_INTERVAL)
            self._loop_lag = max(0.0, self.clock.monotonic() - before - _LAG_INTERVAL)

    def __repr__(self) -> str:
        """Show the id, the address, and what is in flight."""
        return f"<Member {self.instance.id} at {self.instance.address}: {self.health!r}>"


def _client() -> aiohttp.ClientSession:
    """Make the HTTP client of a member: no limit on connections."""
    return client_session(
        # a registry that comes back may have another address under the same name
        connector=connector(limit=0, keepalive_timeout=60, use_dns_cache=False),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=1.0),
    )
