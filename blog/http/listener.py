"""Listener: an open HTTP port, and the timer that sweeps it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from blog.core.background import background
from blog.core.net.address import Address
from blog.http.application import Application
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT
from blog.http.server import ServerConnection
from blog.http.write_coalescer import WriteCoalescer

BACKLOG = 4096
SWEEP_INTERVAL = 0.1
"""Seconds; the accuracy of deadlines."""


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind a port (0: any free one) without listening. Raises OSError.

    `shared`: other processes may bind it too (SO_REUSEPORT); the kernel spreads connections over
    those that listen.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> str:
    """Return `host:port` of a bound socket, an IPv6 host in brackets."""
    return str(Address.of(*bound.getsockname()[:2]))


class Listener:
    """An open port. `stop` accepts no new connections; those that are open continue."""

    def __init__(self, server: asyncio.Server, limiter: ConnectionLimiter[ServerConnection]) -> None:
        self._server = server
        self._limiter = limiter

    def stop(self) -> None:
        """Accept no new connections; those that are open close after their next response."""
        self._server.close()
        self._limiter.close_idle()


@asynccontextmanager
async def listening(  # noqa: PLR0913 - a port has these parts
    bound: socket.socket,
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
    server = await loop.create_server(
        lambda: ServerConnection(application, limiter, now, coalescer),
        sock=bound,
        backlog=BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=HEAD_TIMEOUT if tls else None,
        # closing over TLS waits until the client has taken everything: a slow one needs its time
        ssl_shutdown_timeout=IDLE_TIMEOUT if tls else None,
    )
    try:
        async with background(_sweep_for_ever(sweep)):
            yield Listener(server, limiter)
    finally:
        server.close()
        limiter.abort_all()


async def _sweep_for_ever(sweep: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        sweep()
