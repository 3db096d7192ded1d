"""A port for tests: over real sockets, plain or over TLS, with a clock that a test turns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from blog.core.errors import BlogError, status_of
from blog.core.net.bound_port import bind
from blog.http.application import Handler
from blog.http.connection_limits import ConnectionLimiter
from blog.http.heads import RequestHead
from blog.http.listener import listening
from blog.http.server import ServerConnection
from tests.certificates import Tls
from tests.loops import broken_off

HEAD = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo:
    """Answers each request with its target and body; `gate` holds answers back while it is not set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.gone = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: ServerConnection, head: RequestHead) -> Handler:
        """Begin."""
        handler = EchoHandler(self, connection, head)
        if not head.has_body:
            handler.body_ended()
        return handler

    def refuse(self, connection: ServerConnection, error: BlogError) -> None:
        """Say why."""
        connection.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status_of(error))

    def answer_later(self, handler: "EchoHandler") -> None:
        """Answer once the gate is open."""

        async def answer() -> None:
            await self.gate.wait()
            handler.answer()

        if self.gate.is_set():
            handler.answer()
        else:
            task = asyncio.create_task(answer())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class EchoHandler(Handler):
    """One request."""

    def __init__(self, echo: Echo, connection: ServerConnection, head: RequestHead) -> None:
        self.echo, self.connection, self.head = echo, connection, head
        self.body = b""

    def answer(self) -> None:
        """Answer."""
        self.echo.seen.append((self.head.method, self.head.target, self.body))
        said = self.head.target + self.body
        self.connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
        self.connection.finish()

    def body_data(self, data: bytes) -> None:
        """Keep it."""
        self.body += data

    def body_ended(self) -> None:
        """Answer."""
        self.echo.answer_later(self)

    def body_failed(self, error: BlogError) -> None:
        """Say so, and end."""
        self.connection.write(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        self.connection.finish()

    def client_gone(self) -> None:
        """Count it."""
        self.echo.gone += 1


class Rig:
    """A port with a clock that a test turns."""

    def __init__(
        self, port: int, echo: Echo, limiter: ConnectionLimiter[ServerConnection], tls: Tls | None
    ) -> None:
        self.port, self.echo, self.limiter = port, echo, limiter
        self._client = tls.client if tls else None
        self.time = 100.0
        self.writers: list[asyncio.StreamWriter] = []

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look who is late."""
        self.time += seconds
        self.limiter.sweep(self.time)

    async def connect(self, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        count = len(self.limiter.open)
        reader, writer = await self.open(host)
        await until(lambda: len(self.limiter.open) != count)
        return reader, writer

    async def open(self, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that may be refused."""
        reader, writer = await asyncio.open_connection(host, self.port, ssl=self._client)
        self.writers.append(writer)
        return reader, writer


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def opened_rig(
    tls: Tls | None, total: int = 100, per_address: int = 100, host: str = "127.0.0.1"
) -> AsyncIterator[Rig]:
    """Open a port."""
    limiter: ConnectionLimiter[ServerConnection] = ConnectionLimiter(total, per_address)
    bound = bind(host, 0)
    rig = Rig(bound.address.port, Echo(), limiter, tls)
    context = tls.server if tls else None
    async with listening(bound, rig.echo, limiter, now=lambda: rig.time, sweep=lambda: None, tls=context):
        try:
            yield rig
        finally:
            for writer in rig.writers:
                await broken_off(writer)
            await until(lambda: not limiter.open)


OpenRig: TypeAlias = Callable[..., AbstractAsyncContextManager[Rig]]
