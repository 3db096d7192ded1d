"""Connections: those to upstreams, kept open between requests. Decides nothing."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.net.address import Address
from blog.core.net.ip import ip_of
from blog.core.net.lookup import Lookups
from blog.gateway.upstream.upstreams import Upstream
from blog.http.client import ClientConnection
from blog.http.connection_limits import IDLE_INTERVAL
from blog.http.limits import CONNECT_TIMEOUT, POOL_TIMEOUT
from blog.http.write_coalescer import WriteCoalescer

_LOOKUPS = 32  # names at once


class ConnectionWaiter(Protocol):
    """Waits for a connection. Called at once if one is idle, else when one is open or has failed."""

    def connected(self, upstream: Upstream, connection: ClientConnection) -> bool:
        """Take it; return False if it is not needed any more."""
        ...

    def connect_failed(self, upstream: Upstream, why: str) -> None:
        """Note that no connection could be opened."""


class ConnectionPool:
    """The connections to all upstreams. Idle ones are used again, last in, first out."""

    def __init__(self, tasks: TaskSupervisor, clock: Clock) -> None:
        self._tasks = tasks
        self._lookups = Lookups(_LOOKUPS)
        self._now = clock.monotonic
        self._coalescer = WriteCoalescer(asyncio.get_running_loop())
        self._idle_checked_at = 0.0

    def acquire(self, upstream: Upstream, waiter: ConnectionWaiter) -> None:
        """Give `waiter` a connection to `upstream`: an idle one, else a new one."""
        idle = upstream.idle
        while idle:
            connection = idle.pop()
            if connection.is_reusable:
                waiter.connected(upstream, connection)
                return
            connection.abort()
        self._tasks.start(self._connect(upstream, waiter))

    def release(self, upstream: Upstream, connection: ClientConnection) -> None:
        """Keep `connection` for another request, if it can serve one."""
        if upstream.is_retired or not connection.is_reusable:
            connection.abort()
            return
        connection.idle_since = self._now()
        upstream.idle.append(connection)

    def close_idle(self, upstream: Upstream) -> None:
        """Close the idle connections: `upstream` gets no more requests."""
        while upstream.idle:
            upstream.idle.pop().abort()

    def sweep(self, upstreams: Iterable[Upstream], now: float) -> None:
        """Close what was idle for too long; upstreams must not be the first to do so."""
        if now - self._idle_checked_at < IDLE_INTERVAL:
            return
        self._idle_checked_at = now
        for upstream in upstreams:
            late = [one for one in upstream.idle if now - one.idle_since >= POOL_TIMEOUT]
            for connection in late:
                upstream.idle.remove(connection)
                connection.abort()

    async def _connect(self, upstream: Upstream, waiter: ConnectionWaiter) -> None:
        try:
            connection = await self._dial(upstream)
        except TimeoutError:
            waiter.connect_failed(upstream, "connecting timed out")
        except ConnectionRefusedError:
            waiter.connect_failed(upstream, "connection refused")
        except (OSError, ValueError) as error:  # ValueError: an address, or a name, that is not valid
            waiter.connect_failed(upstream, f"cannot connect: {error}")
        else:
            if not waiter.connected(upstream, connection):
                self.release(upstream, connection)

    async def _dial(self, upstream: Upstream) -> ClientConnection:
        def forget(connection: ClientConnection) -> None:
            with suppress(ValueError):
                upstream.idle.remove(connection)

        address = Address.parse(upstream.instance.address)
        loop = asyncio.get_running_loop()
        failure = OSError("it has no address")
        async with asyncio.timeout(CONNECT_TIMEOUT):
            for host in await self._hosts_of(address):
                try:
                    _, connection = await loop.create_connection(
                        lambda: ClientConnection(forget, self._coalescer), host, address.port
                    )
                except OSError as error:
                    failure = error
                else:
                    return connection
        raise failure

    async def _hosts_of(self, address: Address) -> list[str]:
        """Return the addresses of a host; the loop would look names up in threads that are waited for."""
        if ip_of(address.host) is not None:
            return [address.host]
        found = await self._lookups.find(address.host, address.port)
        return [str(where[0]) for _, where in found]

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<ConnectionPool: {self._tasks!r}>"
