"""One client's connection: order, limits, patience; and any legal request, however it is cut."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_TIMEOUT
from blog.http.server import ServerConnection
from blog.http.write_coalescer import WriteCoalescer
from tests.http.rig import HEAD, Echo, OpenRig, until


async def test_pipelined_requests_are_answered_in_order(open_rig: OpenRig) -> None:
    """One after the other, bodies between them."""
    async with open_rig() as rig:
        rig.echo.gate.clear()
        reader, writer = await rig.connect()
        post = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        writer.write(HEAD % 1 + post + HEAD % 2 + b"\r\n" + HEAD % 3)
        await until(lambda: bool(rig.echo._tasks))
        assert not rig.echo.seen
        rig.echo.gate.set()
        got = b""
        while b"/3" not in got:
            got += await reader.read(1000)
        assert [target for _, target, _ in rig.echo.seen] == [b"/1", b"/b", b"/2", b"/3"]
        writer.close()


async def test_a_trickled_head_is_408_and_a_silent_client_is_just_closed(open_rig: OpenRig) -> None:
    """From the first byte on, whatever comes; a whole head in time is served."""
    async with open_rig() as rig:
        silent, _ = await rig.connect()
        trickling, writer = await rig.connect()
        writer.write(b"GET / HT")
        await until(lambda: any(one._buffer for one in rig.limiter.open))
        rig.pass_time(HEAD_TIMEOUT - 0.1)
        writer.write(b"TP/1.1")
        rig.pass_time(0.2)
        assert b" 408 " in await trickling.read()
        assert await silent.read() == b""


async def test_idle_connections_are_closed_after_a_while(open_rig: OpenRig) -> None:
    """Not before."""
    async with open_rig() as rig:
        reader, writer = await rig.connect()
        writer.write(HEAD % 1)
        await reader.readuntil(b"/1")
        rig.pass_time(KEEPALIVE_TIMEOUT - 1)
        writer.write(HEAD % 2)
        await reader.readuntil(b"/2")
        rig.pass_time(KEEPALIVE_TIMEOUT + 1)
        assert await reader.read() == b""


async def test_a_full_door_lets_the_oldest_without_a_head_go(open_rig: OpenRig) -> None:
    """And where everybody has one, says that it is full."""
    async with open_rig(total=2) as rig:
        first, _ = await rig.connect()
        second, writer = await rig.connect()
        third, third_writer = await rig.open()
        third_writer.write(HEAD % 3)
        await third.readuntil(b"/3")
        with suppress(ConnectionError):
            assert await first.read() == b""
        writer.write(HEAD % 2)
        await second.readuntil(b"/2")
        fourth, fourth_writer = await rig.open()
        assert b" 503 " in await fourth.read()
        fourth_writer.close()
        third_writer.close()
        writer.close()


async def test_one_address_does_not_get_all_places(open_rig: OpenRig) -> None:
    """429 for one more than it may have."""
    async with open_rig(per_address=1) as rig:
        _, writer = await rig.connect()
        refused, refused_writer = await rig.open()
        assert b" 429 " in await refused.read()
        refused_writer.close()
        writer.close()


async def test_a_refused_client_can_still_read_why(open_rig: OpenRig) -> None:
    """What it goes on sending is read for a while, and no longer."""
    async with open_rig() as rig:
        reader, writer = await rig.connect()
        writer.write(b"nonsense\r\n\r\n" + b"x" * 1_000_000)
        assert b" 400 " in await reader.read()
        await until(lambda: len(rig.limiter.lingering) == 1)
        rig.pass_time(LINGER_TIMEOUT)
        await until(lambda: not rig.limiter.open)
        writer.close()


async def test_http_1_0_is_answered_once(open_rig: OpenRig) -> None:
    """Unless it asks for more."""
    async with open_rig() as rig:
        reader, writer = await rig.connect()
        writer.write(b"GET /1 HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"/1")
        reader, writer = await rig.connect()
        writer.write(b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        await reader.readuntil(b"/1")
        writer.write(b"GET /2 HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"/2")


async def test_who_is_gone_is_told(open_rig: OpenRig) -> None:
    """In the middle of an answer."""
    async with open_rig() as rig:
        rig.echo.gate.clear()
        _, writer = await rig.connect()
        writer.write(HEAD % 1)
        await until(lambda: bool(rig.echo._tasks))
        writer.transport.abort()
        await until(lambda: rig.echo.gone == 1)
        for task in tuple(rig.echo._tasks):
            task.cancel()


async def test_who_asks_and_does_not_read_is_not_served_on(open_rig: OpenRig) -> None:
    """Requests without end, answers unread: little is kept of either."""
    async with open_rig() as rig:
        _, writer = await rig.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        target = b"/" + b"x" * 20_000
        request = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
        [connection] = rig.limiter.open
        for _ in range(3000):
            writer.write(request)
            await asyncio.sleep(0)
            held = len(connection._buffer) + connection.transport.get_write_buffer_size()
            assert held < 600_000
        assert connection.is_paused
        writer.transport.abort()


async def test_an_answer_that_is_not_read_does_not_keep_the_next_from_coming(open_rig: OpenRig) -> None:
    """It is over while the client is paused: what was sent behind it is answered once it reads on."""
    async with open_rig() as rig:
        size = 16 << 20
        reader, writer = await rig.connect()
        [connection] = rig.limiter.open
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * size + HEAD % 2)  # over TLS the second of two writes is the one that pauses
        await until(lambda: connection.is_paused and bool(rig.echo.seen))
        writer.write(HEAD % 3)
        await until(lambda: connection._buffer.endswith(HEAD % 3))
        assert (b"GET", b"/3", b"") not in rig.echo.seen
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b"/big") + size)
        await reader.readuntil(b"/2")
        assert (await reader.readuntil(b"/3")).startswith(b"HTTP/1.1 200")
        assert not connection.is_paused


async def test_a_client_that_says_nothing_more_is_taken_for_gone(open_rig: OpenRig) -> None:
    """At once, whether or not it takes what was written."""
    async with open_rig() as rig:
        rig.echo.gate.clear()
        _, writer = await rig.connect()
        writer.write(HEAD % 1)
        await until(lambda: bool(rig.echo._tasks))
        writer.close()
        await until(lambda: rig.echo.gone == 1 and not rig.limiter.open)
        for task in tuple(rig.echo._tasks):
            task.cancel()


async def test_a_connection_whose_end_nobody_reads_is_broken_off(open_rig: OpenRig) -> None:
    """It may take as long as any body, and no longer."""
    async with open_rig() as rig:
        size = 16 << 20
        _, writer = await rig.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        )
        writer.write(b"x" * size)
        await until(lambda: len(rig.limiter.closing) == 1)
        rig.pass_time(IDLE_TIMEOUT - 1)
        rig.pass_time(0.5)
        assert len(rig.limiter.open) == 1
        rig.pass_time(0.5)
        await until(lambda: not rig.limiter.open)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take note of nothing."""

    def can_write_eof(self) -> bool:
        """Say no."""
        return False

    def close(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        """Never."""
        return False


class Turn:
    """A loop whose turns end when it is told."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Remember it."""
        self.soon.append(callback)

    def end(self) -> None:
        """Call what was to be called soon."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True).filter(
    lambda name: name.lower() not in {"host", "connection", "content-length", "transfer-encoding"}
)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[bytes, bytes, bytes]]:
    """Make a legal request, and what it says."""
    target = b"/" + draw(st.from_regex(rb"[a-z0-9/?&=%._~-]{0,30}", fullmatch=True))
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    body = draw(st.binary(max_size=300))
    how = draw(st.sampled_from(["none", "length", "chunked"]))
    head = b"%b %b HTTP/1.1\r\nHost: blog\r\n" % (b"GET" if how == "none" else b"POST", target)
    if how == "none":
        return head + lines + b"\r\n", (b"GET", target, b"")
    if how == "length":
        framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        size = draw(st.integers(min_value=1, max_value=100))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + lines + framed, (b"POST", target, body)


@settings(max_examples=150)
@given(
    asked=st.lists(requests(), min_size=1, max_size=4),
    cuts=st.lists(st.integers(min_value=0, max_value=5000), max_size=15),
)
def test_any_legal_request_arrives_the_same_however_it_is_cut(
    asked: list[tuple[bytes, tuple[bytes, bytes, bytes]]], cuts: list[int]
) -> None:
    """Pipelined or not, split at any byte."""
    data = b"".join(raw for raw, _ in asked)
    turn, echo = Turn(), Echo()
    wire = Wire()
    connection = ServerConnection(echo, ConnectionLimiter(9, 9), lambda: 0.0, WriteCoalescer(turn))  # type: ignore[arg-type]
    connection.connection_made(wire)
    limiter = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in zip(limiter, limiter[1:], strict=False):  # noqa: RUF007 - clearer side by side
        if data[start:end]:
            connection.data_received(data[start:end])
            turn.end()
    assert echo.seen == [said for _, said in asked]
    assert wire.written.count(b"HTTP/1.1 200 OK") == len(asked)
