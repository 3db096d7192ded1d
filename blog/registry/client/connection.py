"""Connection: one open socket to a registry, seen by the client: its state, and what is to be sent."""

import asyncio
from contextlib import suppress

import aiohttp

from blog.core.net.peer import local_host
from blog.registry.messages import FromInstance

MAX_MISSED_HEARTBEATS = 3
"""Heartbeats of ours without any message from the registry until it is taken for dead."""


class RegistryConnection:
    """A socket to the registry at `url`."""

    def __init__(self, url: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.url = url
        self.socket = socket
        self.is_joined = False
        self.is_acknowledged = False
        """Set once the registry has dialled back: others see the instance as ready."""
        self.is_drained = asyncio.Event()
        self.way: str | None = None
        """Our address on the way to the registry, if it is not the local end of this connection."""
        self.announced: str | None = None
        """The address that this registry was told."""
        self._queue: asyncio.Queue[FromInstance] = asyncio.Queue()
        self._missed_heartbeats = 0

    @property
    def local_host(self) -> str:
        """Our IP address on the way to it. Raises ConnectionError when the connection is gone."""
        host = self.way or local_host(self.socket)
        if not host:
            raise ConnectionError("the connection broke at once")
        return host

    def send(self, message: FromInstance) -> None:
        """Queue `message`."""
        self._queue.put_nowait(message)

    async def send_queued(self, running: asyncio.Event) -> None:
        """Send queued messages while `running` is set, until cancelled."""
        while True:
            message = await self._queue.get()
            await running.wait()
            with suppress(ConnectionError, aiohttp.ClientError):  # the receiver sees it close
                await self.socket.send_str(message.to_json())
            self._queue.task_done()

    async def wait_until_sent(self) -> None:
        """Return when every queued message is sent."""
        await self._queue.join()

    def received(self) -> None:
        """Record that a message came from the registry."""
        self._missed_heartbeats = 0

    def is_dead(self) -> bool:
        """Return, once per heartbeat of ours, whether the registry has been silent for too long.

        It is counted in heartbeats, not in seconds: if our own loop was stuck, nobody else is dead.
        """
        self._missed_heartbeats += 1
        return self._missed_heartbeats > MAX_MISSED_HEARTBEATS

    def __repr__(self) -> str:
        """Show the URL, and how far the handshake is."""
        words = ("joined" * self.is_joined, "acknowledged" * self.is_acknowledged)
        return f"<RegistryConnection to {self.url}: {', '.join(filter(None, words)) or 'open'}>"
