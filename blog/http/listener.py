"""Listener: an open HTTP port, and the timer that sweeps it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from blog.core.background import background
from blog.core.net.bound_port import BoundPort
from blog.http.application import Application
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT
from blog.http.server import ServerConnection
from blog.http.write_coalescer import WriteCoalescer

BACKLOG = 4096
SWEEP_INTERVAL = 0.1
"""Seconds; the accuracy of deadlines."""


class Listener:
    """An open port. `stop` accepts no new connections; those that are open continue."""

    def __init__(
        self, servers: list[asyncio.Server], limiter: ConnectionLimiter[ServerConnection]
    ) -> None:
        self._servers = servers
        self._limiter = limiter

    def stop(self) -> None:
        """Accept no new connections; those that are open close after their next response."""
        for server in self._servers:
            server.close()
        self._limiter.close_idle()


@asynccontextmanager
async def listening(  # noqa: PLR0913 - a port has these parts
    bound: BoundPort,
    application: Application[ServerConnection],
    limiter: ConnectionLimiter[ServerConnection],
    *,
    now: Callable[[], float],
    sweep: Callable[[], None],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Listener]:
    """Listen on `bound` and `sweep` now and then while the body runs; then abort what is open."""
    loop = asyncio.get_running_loop()
    coalescer = WriteCoalescer(loop)
    servers: list[asyncio.Server] = []
    async with AsyncExitStack() as stack:
        stack.callback(limiter.abort_all)
        for one in bound.sockets:
            server = await loop.create_server(
                lambda: ServerConnection(application, limiter, now, coalescer),
                sock=one,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=HEAD_TIMEOUT if tls else None,
                # closing over TLS waits until the client has taken everything: a slow one needs its time
                ssl_shutdown_timeout=IDLE_TIMEOUT if tls else None,
            )
            stack.callback(server.close)
            servers.append(server)
        await stack.enter_async_context(background(_sweep_for_ever(sweep)))
        yield Listener(servers, limiter)


async def _sweep_for_ever(sweep: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        sweep()
