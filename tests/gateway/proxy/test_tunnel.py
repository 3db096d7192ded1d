"""What a connection is after 101: bytes both ways, as fast as the slower end; plain and over TLS."""

import asyncio
from typing import Any, TypeAlias

import pytest

from tests.loops import broken_off, in_both_loops

pytestmark = [pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True), in_both_loops]

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter

SWITCH = b"GET /things HTTP/1.1\r\nHost: blog\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
SIZE = 32 << 20
PIECE = b"x" * 65536


async def until(condition: Any) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_an_end_that_stops_reading_stops_the_other_until_it_reads_on(rig: Any) -> None:
    """Nothing is lost, and little is held meanwhile."""

    async def pour(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        for _ in range(SIZE // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
        await reader.read()

    await rig.raw(pour)
    reader, writer = await rig.connect(limit=65536)
    writer.write(SWITCH)
    await reader.readuntil(b"\r\n\r\n")
    [proxied] = rig.handler._proxy._active
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
    await until(lambda: rig.handler._proxy._active and next(iter(rig.handler._proxy._active))._connection)
    [proxied], [client] = rig.handler._proxy._active, rig.handler.limiter.open
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
    heard = asyncio.Event()

    async def hear(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        assert await reader.read() == b"goodbye"
        heard.set()

    await rig.raw(hear)
    reader, writer = await rig.connect()
    writer.write(SWITCH)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"goodbye")
    writer.close()
    async with asyncio.timeout(10):
        await heard.wait()
    await until(lambda: not rig.handler.limiter.open and not rig.handler._proxy._active)


async def test_ends_that_take_nothing_more_are_broken_off_in_the_end(rig: Any) -> None:
    """Closing waits for what is under way, but not for ever."""

    async def say_nothing(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        for _ in range(SIZE // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
        await reader.read()

    await rig.raw(say_nothing)
    reader, writer = await rig.connect(limit=65536)
    writer.write(SWITCH)
    await reader.readuntil(b"\r\n\r\n")
    [proxied] = rig.handler._proxy._active
    client, _ = proxied._tunnel._ends
    await until(lambda: client._is_paused)
    proxied.time_out()
    proxied.time_out()
    await until(lambda: not rig.handler.limiter.open and not rig.handler._proxy._active)
    await broken_off(writer)
