"""Tunnel: two connections joined, bytes as they are, both ways: what a connection is after 101.

Each end reads only as fast as the other writes. When one ends, so does the other.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from blog.http.client import ClientConnection
from blog.http.server import ServerConnection


class Tunnel:
    """Joins the transports of `client` and `instance`. `ended()` is called once.

    `touched()` is called whenever something passes.
    """

    def __init__(
        self,
        client: ServerConnection,
        instance: ClientConnection,
        *,
        touched: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._ends = (_TunnelEnd(self, client), _TunnelEnd(self, instance))
        self._ends[0].other, self._ends[1].other = self._ends[1], self._ends[0]
        self._touched = touched
        self._ended: Callable[[], None] | None = ended
        self._is_expired = False

    def open(self) -> None:
        """Begin, with what either had already sent."""
        for end in self._ends:
            end.take_over()
        if any(end.transport.is_closing() for end in self._ends):
            self.lost()  # maybe the protocol before was told already, and nobody is told twice
            return
        for end in self._ends:
            end.begin()

    def close(self) -> None:
        """End it: send what is under way, then close both."""
        for end in self._ends:
            end.transport.close()

    def expire(self) -> None:
        """End it; the second time, whether or not the ends take what is under way."""
        if self._is_expired:
            for end in self._ends:
                end.transport.abort()
        self._is_expired = True
        self.close()

    def passed(self) -> None:
        """Note that something went through."""
        self._touched()

    def lost(self) -> None:
        """Note that one end is gone."""
        self.close()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended()


class _TunnelEnd(asyncio.Protocol):
    """One of the two. `_is_paused`: it does not take what is written as fast."""

    def __init__(self, tunnel: Tunnel, connection: ServerConnection | ClientConnection) -> None:
        self.transport = connection.transport
        self.other: _TunnelEnd
        self._tunnel = tunnel
        self._connection = connection
        self._is_paused = False
        self._early = b""

    def take_over(self) -> None:
        """Be told from here on what the connection was told, and go on from the state it is in."""
        self._early = self._connection.detach()
        self._is_paused = self._connection.is_paused
        self.transport.set_protocol(self)

    def begin(self) -> None:
        """Pass on what had come early, and read unless the other end is paused."""
        if self._early:
            self.other.transport.write(self._early)
            self._early = b""
        if self.other._is_paused:  # noqa: SLF001 - of the same class
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over (not called for a transport that was another's before)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._tunnel.passed()
        self.other.transport.write(data)

    def eof_received(self) -> None:
        """End the other once it has got everything; this one is closed with the return."""
        self.other.transport.close()

    def pause_writing(self) -> None:
        """Let the other wait."""
        self._is_paused = True
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other go on."""
        self._is_paused = False
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the other too."""
        self._tunnel.lost()
