"""Conversation: one socket of the registry's, with who is at the other end and what it was told."""

import asyncio
from contextlib import suppress

from aiohttp import WSCloseCode, web

from blog.registry.messages import EVERY_SERVICE, FromRegistry

_BACKLOG = 1000  # messages that a follower may be behind before it is cut off and starts anew


class Conversation:
    """The instance at the other end (None: it only follows), what it follows and has acknowledged."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.instance_id: str | None = None
        self.follow: frozenset[str] = frozenset()
        self.acked = 0
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_BACKLOG)
        self._is_cut = asyncio.Event()

    def follows(self, service: str) -> bool:
        """Tell whether it wants to know of `service`."""
        return EVERY_SERVICE in self.follow or service in self.follow

    def say(self, message: FromRegistry) -> None:
        """Send `message`."""
        self.say_text(message.to_json())

    def say_text(self, text: str) -> None:
        """Send what was encoded once for many; who is too far behind is cut off."""
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self._is_cut.set()

    async def send(self) -> None:
        """Write what there is to say, as fast as the other end takes it."""
        with suppress(ConnectionError):  # who listens sees it close
            while True:
                await self.socket.send_str(await self._outbox.get())

    async def close_when_cut(self) -> None:
        """Close the socket of a follower that is too slow; it comes back and starts anew."""
        await self._is_cut.wait()
        await self.socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow; start anew")

    async def refuse(self, why: str) -> None:
        """Close the socket of somebody who cannot be understood, and say why."""
        # a close frame holds at most 125 bytes (RFC 6455 §5.5), two of them the code
        await self.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=why.encode()[:120])

    def __repr__(self) -> str:
        """Show who it is with."""
        return f"<Conversation with {self.instance_id or 'a follower'}, acked {self.acked}>"
