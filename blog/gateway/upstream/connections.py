"""Upstream: connections to instances, kept open between requests. Decides nothing."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.gateway.upstream.upstreams import Upstream
from blog.http.client import ClientConnection
from blog.http.connection_limits import IDLE_INTERVAL
from blog.http.limits import CONNECT_TIMEOUT, POOL_TIMEOUT
from blog.http.write_coalescer import WriteCoalescer


class ConnectionWaiter(Protocol):
    """Who waits for a connection. Told at once where one is idle, else when it is made or not."""

    def connected(self, target: Upstream, connection: ClientConnection) -> bool:
        """Take it; False if it is not wanted any more."""
        ...

    def not_connected(self, target: Upstream, why: str) -> None:
        """Take note that nobody takes connections there."""


class ConnectionPool:
    """The connections to all targets. An idle one is used again last in, first out."""

    def __init__(self, tasks: TaskSupervisor, clock: Clock) -> None:
        self._tasks = tasks
        self._now = clock.monotonic
        self._outbox = WriteCoalescer(asyncio.get_running_loop())
        self._looked_at_idle = 0.0

    def get(self, target: Upstream, waiter: ConnectionWaiter) -> None:
        """Give `waiter` a connection to `target`: an idle one, else a new one."""
        idle = target.idle
        while idle:
            connection = idle.pop()
            if connection.is_reusable:
                waiter.connected(target, connection)
                return
            connection.abort()
        self._tasks.start(self._connect(target, waiter))

    def give_back(self, target: Upstream, connection: ClientConnection) -> None:
        """Keep `connection` for another request, if it can serve one."""
        if target.is_retired or not connection.is_reusable:
            connection.abort()
            return
        connection.idle_since = self._now()
        target.idle.append(connection)

    def drop(self, target: Upstream) -> None:
        """Close the connections that wait: `target` gets no more requests."""
        while target.idle:
            target.idle.pop().abort()

    def sweep(self, targets: Iterable[Upstream], now: float) -> None:
        """Close what was idle for too long; instances must not be the first to do so."""
        if now - self._looked_at_idle < IDLE_INTERVAL:
            return
        self._looked_at_idle = now
        for target in targets:
            late = [one for one in target.idle if now - one.idle_since >= POOL_TIMEOUT]
            for connection in late:
                target.idle.remove(connection)
                connection.abort()

    async def _connect(self, target: Upstream, waiter: ConnectionWaiter) -> None:
        try:
            connection = await self._dial(target)
        except TimeoutError:
            waiter.not_connected(target, "connecting timed out")
        except ConnectionRefusedError:
            waiter.not_connected(target, "connection refused")
        except OSError as error:
            waiter.not_connected(target, f"cannot connect: {error}")
        else:
            if not waiter.connected(target, connection):
                self.give_back(target, connection)

    async def _dial(self, target: Upstream) -> ClientConnection:
        def forget(connection: ClientConnection) -> None:
            with suppress(ValueError):
                target.idle.remove(connection)

        host, _, port = target.instance.address.rpartition(":")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, connection = await loop.create_connection(
                lambda: ClientConnection(forget, self._outbox), host.strip("[]"), int(port)
            )
        return connection

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<ConnectionPool: {self._tasks!r}>"
