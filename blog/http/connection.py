"""Connection: what a client's and an instance's have in common: writing is gathered, both ways can stop.

It holds next to nothing of what its peer does not take.
"""

import asyncio
import fcntl
import struct
import termios

from blog.http.write_coalescer import WriteCoalescer

LARGE = 128 * 1024
"""Bytes in one piece; more than this leaves at once. One read of uvloop is 250 KiB, most answers less."""


class Connection(asyncio.Protocol):
    """`is_paused`: the peer does not take what is written as fast. `is_reading`: what it says is read."""

    __slots__ = ("_out", "_outbox", "is_paused", "is_reading", "transport")

    def __init__(self, outbox: WriteCoalescer) -> None:
        self.transport: asyncio.Transport
        self.is_paused = False
        self.is_reading = True
        self._outbox = outbox
        self._out: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn of the loop.

        A large piece leaves at once: in one turn uvloop may read megabytes of the other connection, and
        until they are written nobody would say stop.
        """
        if not self._out:
            self._outbox.put(self)
        self._out.append(data)
        if len(data) > LARGE:
            self.send_now()

    def send_now(self) -> None:
        """Hand what was written to the transport."""
        if self._out:
            out, self._out = self._out, []
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if self.is_reading:
            self.is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.is_reading:
            self.is_reading = True
            self.transport.resume_reading()

    def _hold_little(self) -> None:
        """Be paused as soon as the kernel does not take all, until it has taken it.

        `high=0` would not say that. A plain transport pauses its protocol when it holds more than `high`;
        one over TLS (uvloop's as asyncio's) when it holds as much: with 0 it pauses while it holds
        nothing, and as nothing is left to be sent, nothing ever tells the protocol to go on.
        """
        self.transport.set_write_buffer_limits(high=1, low=0)


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes the kernel still has to deliver (tcp(7), SIOCOUTQ); 1 where it does not say.

    While it has none, a transport has none either: it would have written them.
    """
    known = transport.get_extra_info("socket")
    if known is None or known.fileno() < 0:
        return 0
    try:
        said = fcntl.ioctl(known.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return 1
    return int(struct.unpack("i", said)[0])
