"""A public port over real sockets, in front of instances that a test makes as good or bad as it likes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from aiohttp import web
from aiohttp.typedefs import Handler

from blog.core.clock import SystemClock
from blog.core.instance import Instance, Route, State
from blog.core.net.bound_port import bind
from blog.core.net.instance_client import InstanceClient
from blog.core.settings import Settings
from blog.gateway.edge.handler import HandlerParts, HTTPRequestHandler
from blog.gateway.routing import RouteTable
from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.stats import GatewayStats
from blog.gateway.upstream.balancer import LoadBalancer
from blog.http.limits import RESPONSE_TIMEOUT
from blog.http.listener import listening
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.client.client import RegistryClient
from blog.registry.messages import TableSnapshot
from tests.certificates import Tls, tls_of
from tests.loops import Factories, loops_of

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ROUTES = tuple(
    Route(method=method, pattern=pattern)
    for method in ("GET", "POST", "PUT")
    for pattern in ("/things", "/things/{id}")
)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Factories:
    """Run every test here in the loop that every process of ours runs in, some in asyncio's too."""
    return loops_of(item)


class Rig:
    """A public port, its table of instances, and instances. `reports` is what the registry received."""

    def __init__(
        self, stack: AsyncExitStack, http: aiohttp.ClientSession, settings: Settings, tls: Tls | None
    ) -> None:
        self.http = http
        self.tls = tls
        self.url = ""
        self.port = 0
        self.reports: list[tuple[str, str]] = []
        self._stack = stack
        self._instances: dict[str, Instance] = {}
        self.clock = SystemClock()
        own = Instance.announce("gateway", address="127.0.0.1:1", started_at=self.clock.now())
        self.member = Member(Lifecycle(self.clock), own)
        self.stats = GatewayStats()
        self.lines: list[bytes] = []
        self.member.http = http
        self.member.registry_client = RegistryClient(
            http=http, registries=(), clock=self.clock, follow=("*",)
        )
        self.balancer = LoadBalancer(
            self.member.discovery,
            lambda id_, why: self.reports.append((id_, why)),
            self.clock,
            self.stats,
            RouteTable(),
        )
        access_log = AccessLog(settings.access_log, is_json=True, write=self.lines.append)
        self.handler = HTTPRequestHandler(settings, self.clock, self.stats, access_log)

    async def start(self, response_timeout: float, host: str) -> None:
        """Open the port."""
        bound = bind(host, 0)
        self.port = bound.address.port
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        await self._stack.enter_async_context(self.handler.tasks)
        self.listener = await self._stack.enter_async_context(
            listening(
                bound,
                self.handler,
                self.handler.limiter,
                now=self.clock.monotonic,
                sweep=self.handler.sweep,
                tls=self.tls.server if self.tls else None,
            )
        )
        member = self.member
        client = InstanceClient(member.http, report=lambda id_, why: self.reports.append((id_, why)))
        parts = HandlerParts(client, member.discovery, member.health, self.balancer)
        self.handler.open(parts, response_timeout=response_timeout)
        self._stack.callback(self.balancer.follow())
        self.publish()

    @property
    def in_flight(self) -> Any:
        """The requests that are with an instance, or will be."""
        return self.handler._proxy._active  # type: ignore[union-attr]

    def publish(self) -> None:
        """Let discovery know of the instances as they are now."""
        discovery = self.member.discovery
        everybody = tuple(self._instances.values())
        discovery.apply(
            TableSnapshot(epoch="e", version=discovery.version + 1, instances=everybody, complete=True)
        )

    def set_state(self, instance: Instance, state: State) -> None:
        """Change what is known of an instance; gone ones vanish."""
        self._instances[instance.id] = instance.model_copy(update={"state": state})
        if state is State.GONE:
            del self._instances[instance.id]
        self.publish()

    def known(self, port: int, service: str = "things") -> Instance:
        """Make an instance known that listens at `port`."""
        instance = Instance(
            id=f"{service}-{len(self._instances) + 1}",
            service=service,
            address=f"127.0.0.1:{port}",
            state=State.READY,
            started_at=self.clock.now(),
            routes=ROUTES if service == "things" else (),
        )
        self._instances[instance.id] = instance
        self.publish()
        return instance

    async def instance(self, handler: Handler) -> Instance:
        """Start an instance that answers everything with `handler`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(request)

        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=0.05, handler_cancellation=True
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return self.known(runner.addresses[0][1])

    async def raw(self, talk: Talk) -> Instance:
        """Start an instance that reads a request's head, then behaves as `talk` does."""
        finished: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            finished.add(task)
            try:
                await talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()
                finished.discard(task)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)

        async def stop() -> None:
            server.close()
            for task in tuple(finished):
                task.cancel()
            await asyncio.gather(*finished, return_exceptions=True)

        self._stack.push_async_callback(stop)
        return self.known(server.sockets[0].getsockname()[1])

    def dead(self) -> Instance:
        """Make an instance known that nobody listens for: connections are refused."""
        import socket  # noqa: PLC0415 - only here

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        return self.known(port)

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the port."""
        client = self.tls.client if self.tls else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=client, **options)

    def websocket(self, path: str) -> websockets.connect:
        """Open a WebSocket by another library than ours."""
        client = self.tls.client if self.tls else None
        url = f"{self.url.replace('http', 'ws', 1)}{path}"
        return websockets.connect(url, max_size=None, ssl=client)

    async def send(self, data: bytes) -> bytes:
        """Send bytes to the port; return all that comes until it closes."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()


@pytest.fixture
def settings() -> Settings:
    """Give the settings; tests override it."""
    return Settings()


@pytest.fixture
def response_timeout() -> float:
    """Give how long the gateway waits for an instance; tests override it."""
    return RESPONSE_TIMEOUT


@pytest.fixture
def tls(request: pytest.FixtureRequest, tls_files: tuple[Path, Path]) -> Tls | None:
    """Give the certificates, None where it is plain; a test may ask for "TLS"."""
    return tls_of(tls_files) if getattr(request, "param", "plain") == "TLS" else None


@pytest.fixture
def host() -> str:
    """Give where the port listens; tests override it. They come by 127.0.0.1."""
    return "127.0.0.1"


@pytest.fixture
async def rig(
    settings: Settings, response_timeout: float, tls: Tls | None, host: str
) -> AsyncIterator[Rig]:
    """Give a public port with no instances yet."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=tls.client if tls else True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        )
        rig = Rig(stack, http, settings, tls)
        await rig.start(response_timeout, host)
        yield rig


class Count:
    """An instance that counts what it gets, and answers with its name."""

    def __init__(self, name: str = "ok", status: int = 200) -> None:
        self.name, self.status = name, status
        self.requests: list[tuple[str, str, bytes]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.requests.append((request.method, request.raw_path, await request.read()))
        return web.Response(text=self.name, status=self.status)


@pytest.fixture
def count() -> type[Count]:
    """Give the class: conftest cannot be imported."""
    return Count
