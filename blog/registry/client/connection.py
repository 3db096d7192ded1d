"""Line: one open socket to a registry, from our side: what was agreed, and whether it still speaks."""

import asyncio
from contextlib import suppress

import aiohttp

from blog.registry.messages import FromInstance

MAX_MISSED_HEARTBEATS = 3
"""Beats of ours without a word from the registry until it is taken for dead."""


class RegistryConnection:
    """A socket to the registry at `url`."""

    def __init__(self, url: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.url = url
        self.socket = socket
        self.is_joined = False
        self.is_agreed = False
        self.is_drained = asyncio.Event()
        self._outbox: asyncio.Queue[FromInstance] = asyncio.Queue()
        self._unheard = 0

    @property
    def local_host(self) -> str:
        """The host of our end of it."""
        return str(self.socket.get_extra_info("sockname")[0])

    def say(self, message: FromInstance) -> None:
        """Send `message` as soon as the socket takes it."""
        self._outbox.put_nowait(message)

    async def send(self, running: asyncio.Event) -> None:
        """Send what there is to say, while `running` is set."""
        while True:
            message = await self._outbox.get()
            await running.wait()
            with suppress(ConnectionError, aiohttp.ClientError):  # the listener sees it close
                await self.socket.send_str(message.to_json())
            self._outbox.task_done()

    async def wait_until_sent(self) -> None:
        """Return when everything is said."""
        await self._outbox.join()

    def heard(self) -> None:
        """Note that the registry spoke."""
        self._unheard = 0

    def is_dead(self) -> bool:
        """Tell, once per beat of ours, whether the registry has been silent for too long.

        Counted in our own turns: a loop that was stuck itself does not take others for dead.
        """
        self._unheard += 1
        return self._unheard > MAX_MISSED_HEARTBEATS

    def __repr__(self) -> str:
        """Show where to, and how far it is."""
        words = ("joined" * self.is_joined, "agreed" * self.is_agreed)
        return f"<RegistryConnection to {self.url}: {', '.join(filter(None, words)) or 'open'}>"
