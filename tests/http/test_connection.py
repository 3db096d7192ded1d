"""What both kinds of connections do: hold little, stop, and go on; plain and over TLS, in either loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from blog.http.connection import LARGE, Connection
from blog.http.write_coalescer import WriteCoalescer
from tests.certificates import Tls
from tests.http.rig import until
from tests.loops import broken_off, in_both_loops

pytestmark = in_both_loops
Writer = asyncio.StreamWriter
Reader = asyncio.StreamReader


class Speaker(Connection):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__(WriteCoalescer(asyncio.get_running_loop()))
        self.heard: list[str] = []
        self.got = b""
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold little."""
        self.transport = cast("asyncio.Transport", transport)
        self._limit_write_buffer()

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.is_lost = True

    def pause_writing(self) -> None:
        """Note it."""
        self.is_paused = True
        self.heard.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.is_paused = False
        self.heard.append("resume")


@asynccontextmanager
async def conversation(tls: Tls | None) -> AsyncIterator[tuple[Speaker, Reader, Writer]]:
    """Give a connection, and what its peer reads and writes."""
    made: asyncio.Queue[Speaker] = asyncio.Queue()

    def accept() -> Speaker:
        speaker = Speaker()
        made.put_nowait(speaker)
        return speaker

    loop = asyncio.get_running_loop()
    server = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls.server if tls else None)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client if tls else None)
    speaker = await made.get()
    await until(lambda: hasattr(speaker, "transport"))
    try:
        yield speaker, reader, writer
    finally:
        await broken_off(writer)
        speaker.transport.abort()
        await until(lambda: speaker.is_lost)
        server.close()


async def test_what_holds_nothing_is_not_paused(tls: Tls | None) -> None:
    """Neither at the beginning, nor after it has written or read, however often."""
    async with conversation(tls) as (speaker, reader, writer):
        for n in range(50):
            speaker.write(b"%03d" % n)
            assert await reader.readexactly(3) == b"%03d" % n
            writer.write(b"%03d" % n)
            await until(lambda n=n: len(speaker.got) == 3 * (n + 1))  # type: ignore[misc]
            assert not speaker.is_paused
            if n == 0:
                speaker.heard.clear()  # the end of the handshake may have been under way still
        assert speaker.heard == []


async def test_a_peer_that_does_not_read_pauses_it_until_it_reads(tls: Tls | None) -> None:
    """Little is held meanwhile, and nothing is lost."""
    async with conversation(tls) as (speaker, reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        piece, sent = b"x" * LARGE + b"y", 0
        while not speaker.is_paused:
            speaker.write(piece)
            sent += len(piece)
            await asyncio.sleep(0)
        assert 0 < speaker.transport.get_write_buffer_size() <= 4 * len(piece)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await reader.readexactly(sent)
        await until(lambda: not speaker.is_paused)
        assert speaker.heard == ["pause", "resume"] * (len(speaker.heard) // 2)
        assert speaker.transport.get_write_buffer_size() == 0


async def test_a_large_piece_leaves_at_once(tls: Tls | None) -> None:
    """So that it is known within the same turn of the loop that the peer does not take more."""
    async with conversation(tls) as (speaker, _, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        written = 0
        while not speaker.is_paused:
            speaker.write(b"x" * (LARGE + 1))  # no turn of the loop ends in between
            written += LARGE + 1
            assert written < 1 << 30


async def test_reading_stops_and_goes_on(tls: Tls | None) -> None:
    """Twice the same is once."""
    async with conversation(tls) as (speaker, _, writer):
        speaker.pause_reading()
        speaker.pause_reading()
        assert not speaker.is_reading
        writer.write(b"hello")
        await writer.drain()
        assert speaker.got == b""
        speaker.resume_reading()
        speaker.resume_reading()
        await until(lambda: speaker.got == b"hello")
        assert speaker.is_reading
