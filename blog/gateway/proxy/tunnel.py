"""Tunnel: two connections joined, bytes as they are, both ways: what a connection is after 101.

Each end reads only as fast as the other writes. When one ends, so does the other.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from blog.http.client import ClientConnection
from blog.http.server import ServerConnection


class Tunnel:
    """Joins the transports of `client` and `upstream`. `on_end()` is called once.

    `on_data()` is called whenever something passes.
    """

    def __init__(
        self,
        client: ServerConnection,
        upstream: ClientConnection,
        *,
        on_data: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._ends = (_TunnelEnd(self, client), _TunnelEnd(self, upstream))
        self._ends[0].other, self._ends[1].other = self._ends[1], self._ends[0]
        self._on_data = on_data
        self._on_end: Callable[[], None] | None = on_end
        self._is_expired = False

    def open(self) -> None:
        """Begin, with what either had already sent."""
        for end in self._ends:
            end.take_over()
        if any(end.transport.is_closing() for end in self._ends):
            self.lost()  # maybe the protocol before was called already, and none is called twice
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

    def forwarded(self) -> None:
        """Note that something went through."""
        self._on_data()

    def lost(self) -> None:
        """Note that one end is gone."""
        self.close()
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()


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
        """Be the protocol of the transport from here on, in the state that the connection is in."""
        self._early = self._connection.detach()
        self._is_paused = self._connection.is_paused
        self.transport.set_protocol(self)

    def begin(self) -> None:
        """Forward what had arrived early, and read unless the other end is paused."""
        if self._early:
            self.other.transport.write(self._early)
            self._early = b""
        if self.other._is_paused:  # noqa: SLF001 - of the same class
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store it (not called for a transport that was another's before)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Forward it."""
        self._tunnel.forwarded()
        self.other.transport.write(data)

    def eof_received(self) -> None:
        """End the other once it has received everything; this one is closed with the return."""
        self.other.transport.close()

    def pause_writing(self) -> None:
        """Pause the other."""
        self._is_paused = True
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume the other."""
        self._is_paused = False
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the other too."""
        self._tunnel.lost()
