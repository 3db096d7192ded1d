"""What a connection is after 101: bytes both ways, as fast as the slower end; plain and over TLS."""

import asyncio
from typing import Any

import pytest

from tests.gateway.wire import Reader, Writer, pour, until
from tests.loops import broken_off, in_both_loops

pytestmark = [pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True), in_both_loops]


SWITCH = b"GET /things HTTP/1.1\r\nHost: blog\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
SIZE = 32 << 20


async def switch_and_pour(reader: Reader, writer: Writer) -> None:
    """Be an instance that sends a lot after it has switched protocols."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHED)
    await pour(writer, SIZE)
    await reader.read()


async def switched_connection(rig: Any) -> tuple[Reader, Writer]:
    """Open a connection that has switched protocols."""
    reader, writer = await rig.connect(limit=65536)
    writer.write(SWITCH)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_an_end_that_stops_reading_stops_the_other_until_it_reads_on(rig: Any) -> None:
    """Nothing is lost, and little is held meanwhile."""
    await rig.raw(switch_and_pour)
    reader, writer = await switched_connection(rig)
    [proxied] = rig.in_flight
    client, instance = proxied._tunnel._ends
    await until(lambda: client._is_paused and not instance.transport.is_reading())
    assert client.transport.get_write_buffer_size() < 1 << 20
    async with asyncio.timeout(60):
        await reader.readexactly(SIZE)
    await until(lambda: not client._is_paused and instance.transport.is_reading())
    await broken_off(writer)
    await until(lambda: not rig.handler.limiter.open)


async def test_who_was_paused_before_the_switch_is_paused_after_it(rig: Any) -> None:
    """Else what the instance says would pile up: nobody says stop twice."""
    switched = asyncio.Event()

    async def switch(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await switched.wait()
        writer.write(SWITCHED + b"early")
        await reader.read()

    await rig.raw(switch)
    reader, writer = await rig.connect()
    writer.write(SWITCH)
    await until(lambda: rig.in_flight and next(iter(rig.in_flight))._connection)
    [proxied], [client] = rig.in_flight, rig.handler.limiter.open
    client.pause_writing()
    switched.set()
    await until(lambda: proxied._tunnel is not None)
    ours, theirs = proxied._tunnel._ends
    assert not theirs.transport.is_reading()
    ours.resume_writing()
    assert theirs.transport.is_reading()
    async with asyncio.timeout(10):
        await reader.readuntil(b"early")
    await broken_off(writer)
    await until(lambda: not rig.handler.limiter.open)


async def test_when_one_end_says_nothing_more_both_end(rig: Any) -> None:
    """What it said before comes through."""
    received = asyncio.Event()

    async def receive(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        assert await reader.read() == b"goodbye"
        received.set()

    await rig.raw(receive)
    _, writer = await switched_connection(rig)
    writer.write(b"goodbye")
    writer.close()
    async with asyncio.timeout(10):
        await received.wait()
    await until(lambda: not rig.handler.limiter.open and not rig.in_flight)


async def test_ends_that_take_nothing_more_are_broken_off_in_the_end(rig: Any) -> None:
    """Closing waits for what is under way, but not for ever."""
    await rig.raw(switch_and_pour)
    _, writer = await switched_connection(rig)
    [proxied] = rig.in_flight
    client, _ = proxied._tunnel._ends
    await until(lambda: client._is_paused)
    proxied.time_out()
    proxied.time_out()
    await until(lambda: not rig.handler.limiter.open and not rig.in_flight)
    await broken_off(writer)
