"""Tunnel: two connections joined, bytes as they are, both ways: what a connection is after 101.

Each end reads only as fast as the other writes. When one ends, so does the other.
"""

import asyncio
from collections.abc import Callable
from typing import cast


class Tunnel:
    """Joins `client` and `instance`, which were other protocols' transports. `ended()` is called once.

    `touched()` is called whenever something passes.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        instance: asyncio.Transport,
        *,
        touched: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._ends = (_End(self, client), _End(self, instance))
        self._ends[0].other, self._ends[1].other = self._ends[1], self._ends[0]
        self._touched = touched
        self._ended: Callable[[], None] | None = ended

    def open(self, from_client: bytes, from_instance: bytes) -> None:
        """Begin, with what either had already sent."""
        client, instance = self._ends
        for end in self._ends:
            end.transport.set_protocol(end)
            end.transport.resume_reading()
        if from_client:
            instance.transport.write(from_client)
        if from_instance:
            client.transport.write(from_instance)

    def close(self) -> None:
        """End it: send what is under way, then close both."""
        for end in self._ends:
            end.transport.close()

    def passed(self) -> None:
        """Note that something went through."""
        self._touched()

    def lost(self) -> None:
        """Note that one end is gone."""
        self.close()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended()


class _End(asyncio.Protocol):
    """One of the two."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.other: _End
        self._tunnel = tunnel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over (not called for a transport that was another's before)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._tunnel.passed()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Let the other wait."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other go on."""
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the other too."""
        self._tunnel.lost()
