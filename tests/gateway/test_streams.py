"""Streams through the public port: WebSockets, events, slow and vanishing clients and instances."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from blog.core.instance import Route, State
from tests.gateway.wire import Reader, Writer, until

pytestmark = pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True)


HELD = 256 * 1024
REQUEST = b"GET /things HTTP/1.1\r\nHost: blog\r\n\r\n"


async def echo(request: web.Request) -> web.StreamResponse:
    """Say back what is said, as a WebSocket."""
    socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4001)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def open_files() -> int:
    """Count the file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def is_at_rest(rig: Any) -> bool:
    """Return whether nothing is under way any more."""
    operations = rig.member.health
    active = sum(upstream.active for upstream in rig.balancer.upstreams.by_id.values())
    return (operations.requests.count, operations.streams.count, active) == (0, 0, 0)


async def test_websockets_of_aiohttp(rig: Any) -> None:
    """Both ways, text and bytes, small and large, with the subprotocol that was agreed."""
    await rig.instance(echo)
    async with rig.http.ws_connect(f"{rig.url}/things", protocols=("chat",), max_msg_size=0) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"x" * (1 << 20))
        assert await socket.receive_bytes() == b"x" * (1 << 20)
        assert rig.member.health.streams.count == 1
        assert sum(one.streams for one in rig.stats.services.values()) == 1
    await until(lambda: is_at_rest(rig))
    assert sum(one.streams for one in rig.stats.services.values()) == 0


async def test_websockets_of_another_library(rig: Any) -> None:
    """An independent client agrees; the close code comes through."""
    await rig.instance(echo)
    async with rig.websocket("/things") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send(b"x" * 300_000)
        assert await socket.recv() == b"x" * 300_000
        await socket.send("bye")
        await socket.wait_closed()
    assert socket.close_code == 4001
    await until(lambda: is_at_rest(rig))


async def test_an_instance_that_refuses_to_switch_just_answers(rig: Any, count: Any) -> None:
    """The connection goes on as HTTP."""
    await rig.instance(count())
    head = REQUEST[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    close = REQUEST[:-2] + b"Connection: close\r\n\r\n"
    assert (await rig.send(head + close)).count(b"HTTP/1.1 200 OK") == 2


async def test_switching_to_http2_is_not_offered(rig: Any) -> None:
    """It would be a way around whoever looks at requests."""
    heard: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        heard.append(request.headers.get("Upgrade"))
        return web.Response()

    await rig.instance(answer)
    head = REQUEST[:-2] + b"Connection: upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    assert b" 200 " in await rig.send(head)
    assert heard == [None]


async def test_draining_ends_websockets(rig: Any) -> None:
    """Both sides see the end."""
    await rig.instance(echo)
    async with asyncio.timeout(5), rig.http.ws_connect(f"{rig.url}/things") as socket:
        await socket.send_str("hello")
        await socket.receive_str()
        rig.handler.end_streams()
        assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
    await until(lambda: is_at_rest(rig))


async def test_websockets_outlive_the_drain_of_their_instance(rig: Any) -> None:
    """It ends them when it likes, with its own code; whoever comes again is at another one."""
    leaving = asyncio.Event()

    async def until_it_leaves(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        await leaving.wait()
        await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        return socket

    first = await rig.instance(until_it_leaves)
    async with rig.websocket("/things") as socket:
        rig.set_state(first, State.DRAINING)
        await rig.instance(echo)
        await socket.send("still here")
        assert await socket.recv() == "still here"
        leaving.set()
        await socket.wait_closed()
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
    async with rig.websocket("/things") as socket:
        await socket.send("another one")
        assert await socket.recv() == "another one"
    await until(lambda: is_at_rest(rig))


async def test_events_outlive_the_drain_of_their_instance(rig: Any) -> None:
    """What it still says comes through, its end is an end, and the next stream is another's."""
    leaving = asyncio.Event()

    def saying(name: str) -> Any:
        async def say(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            await answer.write(f"data: {name}\n\n".encode())
            await leaving.wait()
            await answer.write(b"data: bye\n\n")
            return answer

        return say

    first = await rig.instance(saying("first"))
    async with asyncio.timeout(10), rig.http.get(f"{rig.url}/things") as events:
        assert await events.content.readuntil(b"\n\n") == b"data: first\n\n"
        assert rig.member.health.streams.count == 1
        rig.set_state(first, State.DRAINING)
        await rig.instance(saying("second"))
        leaving.set()
        assert await events.content.read() == b"data: bye\n\n"
    async with asyncio.timeout(10), rig.http.get(f"{rig.url}/things") as events:
        assert await events.content.readuntil(b"\n\n") == b"data: second\n\n"
    await until(lambda: is_at_rest(rig))


async def test_interim_answers_are_passed_on(rig: Any) -> None:
    """103 goes to HTTP/1.1 clients, before the final answer; HTTP/1.0 knows none."""

    async def hint(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await rig.raw(hint)
    answered = await rig.send(REQUEST[:-2] + b"Connection: close\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert (await rig.send(REQUEST.replace(b"1.1", b"1.0"))).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("wants_trailers", [False, True])
async def test_trailers_are_for_those_who_ask(rig: Any, wants_trailers: bool) -> None:  # noqa: FBT001 - a table
    """With TE: trailers (RFC 9110 §6.5.1)."""

    async def trail(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
            )

    await rig.raw(trail)
    te = b"Connection: te, close\r\nTE: trailers\r\n" if wants_trailers else b"Connection: close\r\n"
    answered = await rig.send(REQUEST[:-2] + te + b"\r\n")
    assert answered.endswith(b"0\r\nX-Sum: 1\r\n\r\n" if wants_trailers else b"0\r\n\r\n")


async def test_a_client_that_reads_slowly_holds_little(rig: Any) -> None:
    """A fast instance waits; not even a read of the loop is more than the limit."""
    size = 64 << 20
    sent = 0

    async def pour(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    await rig.raw(pour)
    reader, writer = await rig.connect(limit=1024)
    writer.write(REQUEST)
    got = 0
    most = 0
    while got < size:
        data = await reader.read(1 << 20)
        got += len(data)
        for connection in rig.handler.limiter.open:
            most = max(most, connection.transport.get_write_buffer_size())
    assert most <= HELD
    writer.close()
    await until(lambda: is_at_rest(rig))


async def test_a_gibibyte_passes_in_constant_memory(rig: Any) -> None:
    """What this whole process holds, both ends among it, does not grow with what passes."""
    size = 1 << (28 if rig.tls else 30)  # TLS takes its time at both ends
    piece = b"x" * (256 << 10)

    async def pour(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()

    await rig.raw(pour)
    reader, writer = await rig.connect()
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    got = len(await reader.readexactly(16 << 20))
    before, most = resident(), 0
    while got < size:
        got += len(await reader.read(1 << 20))
        most = max(most, resident())
    assert most - before < 16 << 20
    writer.close()
    await until(lambda: is_at_rest(rig))


async def test_an_instance_that_reads_slowly_holds_little(rig: Any) -> None:
    """A fast client waits; a body of any size passes where a route allows it."""
    size = 64 << 20
    gate = asyncio.Event()
    got = 0

    async def sip(reader: Reader, writer: Writer) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        while got < size:
            got += len(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    instance = await rig.raw(sip)
    allowed = (Route(method="POST", pattern="/things", body_limit=size),)
    rig._instances = {instance.id: instance.model_copy(update={"id": "big", "routes": allowed})}
    rig.publish()
    reader, writer = await rig.connect()
    writer.write(b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: %d\r\n\r\n" % size)
    most = 0
    for at in range(0, size, 1 << 20):
        writer.write(b"x" * (1 << 20))
        if at == 16 << 20:
            gate.set()
        if at > 16 << 20:
            await writer.drain()
        else:
            await asyncio.sleep(0)
        for upstream in rig.balancer.upstreams.by_id.values():
            assert not upstream.idle
        for proxied in rig.in_flight:
            transport = proxied._connection.transport if proxied._connection else None
            most = max(most, transport.get_write_buffer_size() if transport else 0)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert most <= HELD
    writer.close()
    await until(lambda: is_at_rest(rig))


STAGES = {
    "connected": b"",
    "half a line": b"GET /thi",
    "half a head": b"GET /things HTTP/1.1\r\nHost: bl",
    "head": REQUEST,
    "half a body": b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: 9\r\n\r\nhalf",
    "half a large body": b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: 900000\r\n\r\n"
    + b"x" * 9000,
    "half a chunk": b"POST /things HTTP/1.1\r\nHost: blog\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_client_that_vanishes_leaves_nothing(rig: Any, stage: str) -> None:
    """Neither task, file descriptor, request nor place, whenever it is."""

    async def hang(reader: Reader, _: Writer) -> None:
        await reader.read()

    await rig.raw(hang)
    tasks, files = len(asyncio.all_tasks()), open_files()
    for _ in range(5):
        _, writer = await rig.connect()
        writer.write(STAGES[stage])
        await until(lambda: len(rig.handler.limiter.open) == 1)
        await asyncio.sleep(0)
        writer.transport.abort()
        await until(lambda: not rig.handler.limiter.open)
    await until(lambda: is_at_rest(rig))
    for upstream in rig.balancer.upstreams.by_id.values():
        rig.handler._proxy.pool.close_idle(upstream)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: open_files() <= files)


ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "head": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "half a large body": b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 9000,
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_instance_that_vanishes_leaves_nothing(rig: Any, answer: str) -> None:
    """And its client gets a 502 or a broken connection, never a clean end."""

    async def die(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWERS[answer])
        await writer.drain()

    await rig.raw(die)
    tasks, files = len(asyncio.all_tasks()), open_files()
    for _ in range(3):
        try:
            answered = await rig.send(REQUEST[:-2] + b"Connection: close\r\n\r\n")
        except ConnectionError:
            continue
        assert b" 502 " in answered or not answered.endswith(b"0\r\n\r\n")
    await until(lambda: is_at_rest(rig) and not rig.handler.limiter.open)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: open_files() <= files)
