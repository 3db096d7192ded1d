"""Conversation: one socket of the registry's, with who is at the other end and what it was told.

What is said goes straight to the connection, as a frame that may be the same for many.
"""

import asyncio
import struct
from ipaddress import ip_address
from typing import Final

from aiohttp import WSCloseCode, web

from blog.registry.messages import EVERY_SERVICE, FromRegistry, KeepAlive

BACKLOG: Final = 16 << 20
"""Bytes that a follower may be behind before it is cut off and starts anew."""

MAX_MISSED_HEARTBEATS: Final = 10
"""Our signs of life without a word from the other end until it is given up (it beats every second)."""

_TEXT: Final = 0x81  # the only frame of its message (RFC 6455 §5.2), and one of text
_SHORT, _MEDIUM, _LONG = 125, 126, 127


class ServerSession:
    """The instance at the other end (None: it only follows), what it follows and has acknowledged.

    `peer` is the address it comes from.
    """

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, peer: str = ""
    ) -> None:
        self.socket = socket
        self.peer = peer
        self.instance_id: str | None = None
        self.follow: frozenset[str] = frozenset()
        self.acked = 0
        self.told = 0
        """The last version that was sent to it."""
        self._transport = transport
        self._unheard = 0

    def say(self, message: FromRegistry) -> None:
        """Send `message`."""
        self.say_frame(frame(message.to_json()))

    def say_frame(self, encoded: bytes) -> None:
        """Send what was encoded once for many; who is too far behind is cut off, and comes back."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > BACKLOG:
            self._transport.abort()
        else:
            self._transport.write(encoded)

    def heard(self) -> None:
        """Note that the other end spoke."""
        self._unheard = 0

    def say_alive(self) -> None:
        """Let the other end hear from us; give it up when nothing came from it for 10 of these.

        Counted in our own turns: a loop that was stuck itself does not take others for dead.
        """
        self._unheard += 1
        if self._unheard > MAX_MISSED_HEARTBEATS:
            self._transport.abort()
        else:
            self.say_frame(_ALIVE)

    async def refuse(self, why: str, code: WSCloseCode = WSCloseCode.POLICY_VIOLATION) -> None:
        """Close the socket, and say why."""
        # a close frame holds at most 125 bytes (RFC 6455 §5.5), two of them the code
        await self.socket.close(code=code, message=why.encode()[:120])

    def __repr__(self) -> str:
        """Show who it is with."""
        return f"<ServerSession with {self.instance_id or 'a follower'}, acked {self.acked}>"


def wants(follow: frozenset[str], service: str) -> bool:
    """Tell whether who follows `follow` wants to know of `service`."""
    return EVERY_SERVICE in follow or service in follow


def frame(text: str) -> bytes:
    """Encode `text` as one WebSocket frame of a server: not masked (RFC 6455 §5.2)."""
    payload = text.encode()
    length = len(payload)
    if length <= _SHORT:
        head = struct.pack("!BB", _TEXT, length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", _TEXT, _MEDIUM, length)
    else:
        head = struct.pack("!BBQ", _TEXT, _LONG, length)
    return head + payload


_ALIVE = frame(KeepAlive().to_json())


def peer_of(request: web.Request) -> str:
    """Return the address that a request comes from; empty if it has none (a Unix socket)."""
    try:
        found = ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)
