"""Connection: one open socket to a registry, seen by the client: its state, and what is to be sent."""

import asyncio
from contextlib import suppress

import aiohttp

from blog.core.net.peer import local_host
from blog.core.printable import printable
from blog.registry.messages import FromInstance, FromRegistry
from blog.registry.reading import SessionReader, read_from_registry

_REJECTED = (aiohttp.WSCloseCode.POLICY_VIOLATION, aiohttp.WSCloseCode.TRY_AGAIN_LATER)
_DATA = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)

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
        self.rejection: str | None = None
        """Why the registry ended the session, if it refused what we are or sent, for now or for good."""
        self._reader: SessionReader[FromRegistry] = SessionReader(read_from_registry, url=url)
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

    async def receive(self, running: asyncio.Event) -> FromRegistry | None:
        """Return the next message that can be read, while `running` is set; None at the end."""
        while True:
            frame = await self.socket.receive()
            await running.wait()
            self._missed_heartbeats = 0
            if frame.type not in _DATA:
                is_rejected = self.socket.close_code in _REJECTED
                self.rejection = printable(frame.extra or "without a reason") if is_rejected else None
                return None
            message = self._reader.read(frame.data)
            if message is not None:
                return message

    def is_dead(self) -> bool:
        """Return, once per heartbeat of ours, whether the registry has been silent for too long.

        It is counted in heartbeats, not in seconds: if our own loop was stuck, nobody else is dead.
        """
        self._missed_heartbeats += 1
        return self._missed_heartbeats > MAX_MISSED_HEARTBEATS

    def __repr__(self) -> str:
        """Show the URL, and how far the handshake is."""
        words = ("joined" * self.is_joined, "acknowledged" * self.is_acknowledged)
        how_far = ", ".join(filter(None, words)) or "open"
        return f"<RegistryConnection to {self.url}: {how_far}, protocol {self._reader.protocol}>"
