"""Connection: what a client's and an upstream's have in common: coalesced writes, flow control both ways.

It buffers next to nothing that its peer does not take.
"""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress
from typing import cast

from blog.http.write_coalescer import WriteCoalescer

LARGE = 128 * 1024
"""Bytes in one piece; more is sent at once. One read of uvloop is 250 KiB, most responses are smaller."""


class Connection(asyncio.Protocol):
    """`is_paused`: the peer does not take what is written as fast. `is_reading`: its bytes are read."""

    __slots__ = ("_coalescer", "_out", "is_paused", "is_reading", "transport")

    def __init__(self, coalescer: WriteCoalescer) -> None:
        self.transport: asyncio.Transport
        self.is_paused = False
        self.is_reading = True
        self._coalescer = coalescer
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: what the kernel does not take at once pauses the writer."""
        self.transport = cast("asyncio.Transport", transport)
        self._limit_write_buffer()

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this iteration of the loop.

        A large piece is sent at once: in one iteration uvloop may read megabytes of the other connection,
        and until they are written nothing would pause it.
        """
        if not self._out:
            self._coalescer.schedule(self)
        self._out.append(data)
        if len(data) > LARGE:
            self.flush()

    def flush(self) -> None:
        """Pass what was written to the transport."""
        if self._out:
            out, self._out = self._out, []
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if self.is_reading:
            self.is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        if not self.is_reading:
            self.is_reading = True
            self.transport.resume_reading()

    def has_delivered(self) -> bool:
        """Return whether the peer's machine has acknowledged everything that was sent."""
        return not (self._out or self.transport.get_write_buffer_size() or unacknowledged(self.transport))

    def _close_writing(self) -> None:
        """Send what was written, and the end.

        A TLS connection cannot be half closed: there `close` sends the end, and reads until the peer has
        closed.
        """
        self.flush()
        if self.transport.can_write_eof():
            with suppress(OSError):
                self.transport.write_eof()
        else:
            self.transport.close()

    def _limit_write_buffer(self) -> None:
        """Be paused as soon as the kernel does not take all, until it has taken it.

        `high=0` would not do that. A plain transport pauses its protocol when it holds more than `high`;
        one over TLS (uvloop's as asyncio's) when it holds as much: with 0 it pauses while it holds
        nothing, and as nothing is left to be sent, nothing ever resumes the protocol.
        """
        self.transport.set_write_buffer_limits(high=1, low=0)


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes the kernel still has to deliver (tcp(7), SIOCOUTQ); 1 where it cannot tell.

    While it has none, a transport has none either: it would have written them.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    try:
        size = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return 1
    return int(struct.unpack("i", size)[0])
