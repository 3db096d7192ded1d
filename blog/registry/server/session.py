"""Session: one WebSocket of the registry, with the instance at the other end and what was sent to it.

Messages are written straight to the connection, as frames that may be shared by many sessions.
"""

import asyncio
import struct
from typing import Final

from aiohttp import WSCloseCode, web

from blog.core.net.peer import local_host
from blog.registry.messages import EVERY_SERVICE, FromInstance, FromRegistry, KeepAlive
from blog.registry.reading import SessionReader, read_from_instance

BACKLOG: Final = 16 << 20
"""Unsent bytes of one session from which on it is aborted; the follower connects again."""

MAX_MISSED_HEARTBEATS: Final = 10
"""Keep-alives of ours without any message from the other end until it is given up."""

SILENT_AFTER: Final = 3
"""Keep-alives of ours without any message from the other end until its connection is probably broken."""

_TEXT: Final = 0x81  # the only frame of its message (RFC 6455 §5.2), and one of text
CLOSE_REASON: Final = 123
"""Bytes of the reason of a close frame (RFC 6455 §5.5: 125, two of them the code)."""
_SHORT, _MEDIUM, _LONG = 125, 126, 127


class ServerSession:
    """The instance at the other end (None: it only follows), what it follows and has acknowledged.

    `peer` is the IP address it connects from, `reader` reads what it sends. `is_turned_away`: it wanted
    to join with another log.
    """

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, peer: str = ""
    ) -> None:
        self.socket = socket
        self.peer = peer
        self.reader: SessionReader[FromInstance] = SessionReader(read_from_instance, peer=peer)
        self.instance_id: str | None = None
        self.is_turned_away = False
        self.follow: frozenset[str] = frozenset()
        self.acked_version = 0
        self.sent_version = 0
        self._transport = transport
        self._missed_heartbeats = 0

    @property
    def local_host(self) -> str:
        """Our IP address that the other end connects to; "" if there is none."""
        return local_host(self._transport)

    def send(self, message: FromRegistry) -> None:
        """Send `message`."""
        self.send_frame(frame(message.to_json()))

    def send_frame(self, encoded: bytes) -> None:
        """Send a frame; a session that has more than `BACKLOG` unsent bytes is aborted instead."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > BACKLOG:
            self._transport.abort()
        else:
            self._transport.write(encoded)

    @property
    def is_silent(self) -> bool:
        """Whether the other end has sent nothing for longer than its heartbeats allow."""
        return self._missed_heartbeats >= SILENT_AFTER

    def received(self) -> None:
        """Record that a message came from the other end."""
        self._missed_heartbeats = 0

    def send_keep_alive(self) -> None:
        """Send a keep-alive; give the other end up after 10 of them without a message from it.

        It is counted in keep-alives, not in seconds: if our own loop was stuck, nobody else is dead.
        """
        self._missed_heartbeats += 1
        if self._missed_heartbeats > MAX_MISSED_HEARTBEATS:
            self._transport.abort()
        else:
            self.send_frame(_KEEP_ALIVE)

    async def close(self, why: str, code: WSCloseCode = WSCloseCode.POLICY_VIOLATION) -> None:
        """Close the socket with a reason."""
        # a close frame holds at most 125 bytes (RFC 6455 §5.5), two of them the code
        # and it is UTF-8 to its end
        reason = why.encode(errors="replace")[:CLOSE_REASON].decode(errors="ignore")
        await self.socket.close(code=code, message=reason.encode())

    def __repr__(self) -> str:
        """Show the instance, and what it has acknowledged."""
        who = self.instance_id or "a follower"
        return f"<ServerSession with {who}, protocol {self.reader.protocol}, acked {self.acked_version}>"


def includes(follow: frozenset[str], service: str) -> bool:
    """Return whether `service` is one of those in `follow`."""
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


_KEEP_ALIVE = frame(KeepAlive().to_json())
