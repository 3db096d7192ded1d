"""One request and its answer, with clients and instances that stop and go on; plain and over TLS."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from blog.core.instance import Route
from blog.gateway.proxy.forward import ResponseForwarder
from blog.gateway.proxy.request import ProxiedRequest
from tests.gateway.wire import Reader, Writer, pour, until
from tests.loops import broken_off, in_both_loops

pytestmark = [pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True), in_both_loops]


GET = b"GET /things HTTP/1.1\r\nHost: blog\r\n\r\n"
POST = b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 20 << 20


async def answer_all(reader: Reader, writer: Writer) -> None:
    """Answer every request on a connection."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        if b"POST" in head:
            await reader.readexactly(5)
        writer.write(OK)


def is_begun(rig: Any) -> bool:
    """Return whether a part of a request has come."""
    return bool(rig.in_flight) or any(one._buffer for one in rig.handler.limiter.open)


class Pour:
    """An instance that answers with 20 MiB, with their length or in chunks."""

    def __init__(self, *, in_chunks: bool = False) -> None:
        self._in_chunks = in_chunks

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        """Answer every request so."""
        while await reader.readuntil(b"\r\n\r\n"):
            framing = b"Transfer-Encoding: chunked" if self._in_chunks else b"Content-Length: %d" % LARGE
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
            await pour(writer, LARGE, in_chunks=self._in_chunks)
            writer.write(b"0\r\n\r\n" if self._in_chunks else b"")


async def read_response(reader: Reader) -> bytes:
    """Read a whole answer; return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    if b"chunked" not in head:
        length = head.lower().partition(b"content-length: ")[2].split()[0]
        return await reader.readexactly(int(length))
    body = bytearray()
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(body)


async def test_two_hundred_requests_on_one_connection(rig: Any) -> None:
    """Reads and writes, each answered before the next is sent, whole or in two pieces."""
    await rig.raw(answer_all)
    reader, writer = await rig.connect()
    async with asyncio.timeout(60):
        for n in range(200):
            request = POST if n % 3 == 0 else GET
            cut = len(request) if n % 2 else len(request) - 7
            writer.write(request[:cut])
            if cut < len(request):
                await until(lambda: is_begun(rig))
                writer.write(request[cut:])
            assert await read_response(reader) == b"ok"
    [upstream] = rig.balancer.upstreams.by_id.values()
    assert len(upstream.idle) == 1  # one connection has carried them all
    await broken_off(writer)


async def test_two_hundred_requests_at_once(rig: Any) -> None:
    """Pipelined by one client, in order."""
    await rig.raw(answer_all)
    reader, writer = await rig.connect()
    writer.write((GET + POST) * 100)
    async with asyncio.timeout(60):
        for _ in range(200):
            assert await read_response(reader) == b"ok"
    await broken_off(writer)


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_large_answers_come_whole_one_after_the_other(rig: Any, in_chunks: bool) -> None:  # noqa: FBT001 - a table
    """With their length, or in chunks."""
    await rig.raw(Pour(in_chunks=in_chunks))
    reader, writer = await rig.connect(limit=1 << 20)
    async with asyncio.timeout(60):
        for _ in range(2):
            writer.write(GET)
            assert len(await read_response(reader)) == LARGE
    await broken_off(writer)


async def test_a_large_upload_comes_whole(rig: Any) -> None:
    """And the connection serves the next request."""
    got: list[int] = []

    async def take(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            got.append(len(await reader.readexactly(LARGE)))
            writer.write(OK)

    instance = await rig.raw(take)
    routes = (Route(method="POST", pattern="/things", body_limit=LARGE),)
    rig._instances = {instance.id: instance.model_copy(update={"id": "big", "routes": routes})}
    rig.publish()
    reader, writer = await rig.connect()
    async with asyncio.timeout(60):
        for _ in range(2):
            writer.write(b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: %d\r\n\r\n" % LARGE)
            await pour(writer, LARGE)
            assert await read_response(reader) == b"ok"
    assert got == [LARGE, LARGE]
    await broken_off(writer)


async def test_a_client_that_stops_reading_stops_the_instance_until_it_reads_on(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and little is held meanwhile: most of the answer is still the instance's."""
    came = 0

    def count(forwarder: ResponseForwarder, data: bytes) -> None:
        nonlocal came
        came += len(data)
        pass_on(forwarder, data)

    pass_on = ResponseForwarder.add
    monkeypatch.setattr(ResponseForwarder, "add", count)
    await rig.raw(Pour())
    reader, writer = await rig.connect(limit=65536)
    writer.write(GET)
    [proxied] = await first(lambda: rig.in_flight)
    await until(lambda: proxied._connection and not proxied._connection.is_reading)
    [client] = rig.handler.limiter.open
    assert client.is_paused
    assert client.transport.get_write_buffer_size() < 1 << 20
    assert came < LARGE * 3 // 4  # what the kernel took, and little more
    async with asyncio.timeout(60):
        assert len(await read_response(reader)) == LARGE
        writer.write(GET)
        assert len(await read_response(reader)) == LARGE
    await broken_off(writer)


async def test_a_client_that_goes_while_it_is_paused_leaves_nothing(rig: Any) -> None:
    """Its instance's connection is broken off with it."""
    await rig.raw(Pour())
    reader, writer = await rig.connect(limit=65536)
    writer.write(GET)
    [proxied] = await first(lambda: rig.in_flight)
    await reader.readuntil(b"\r\n\r\n")
    await broken_off(writer)
    await until(lambda: not rig.in_flight and not rig.handler.limiter.open)
    [upstream] = rig.balancer.upstreams.by_id.values()
    assert (upstream.active, upstream.idle) == (0, [])
    assert proxied._connection is None


async def test_a_pause_before_the_answer_is_no_reason_not_to_read_it(rig: Any) -> None:
    """An instance is not blamed for a client that reads slowly, nor kept waiting for it."""
    received, respond = asyncio.Event(), asyncio.Event()

    async def wait(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            received.set()
            await respond.wait()
            writer.write(OK)

    await rig.raw(wait)
    reader, writer = await rig.connect()
    async with asyncio.timeout(10):
        writer.write(GET)
        await received.wait()
        [client] = rig.handler.limiter.open
        client.pause_writing()
        respond.set()
        assert await read_response(reader) == b"ok"
        client.resume_writing()
        writer.write(GET)
        assert await read_response(reader) == b"ok"
    assert not rig.reports
    await broken_off(writer)


async def test_an_early_answer_to_a_request_that_is_not_taken_ends_its_connection(rig: Any) -> None:
    """What the instance has not read yet would be taken for the next request."""
    received, respond = asyncio.Event(), asyncio.Event()
    connections = 0

    async def wait(reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            received.set()
            await respond.wait()
            writer.write(OK)

    await rig.raw(wait)
    reader, writer = await rig.connect()
    async with asyncio.timeout(10):
        writer.write(GET)
        await received.wait()
        [proxied] = rig.in_flight
        proxied._connection.pause_writing()
        respond.set()
        assert await read_response(reader) == b"ok"
        [upstream] = rig.balancer.upstreams.by_id.values()
        assert not upstream.idle
        writer.write(GET)
        assert await read_response(reader) == b"ok"
    assert connections == 2
    await broken_off(writer)


async def first(those: Any) -> list[Any]:
    """Wait until there are some; return them."""
    await until(those)
    return list(those())


class Halting:
    """A connection to an instance, which is full with the first piece that is sent."""

    def __init__(self, *, is_full: bool) -> None:
        self.is_paused = False
        self._is_full = is_full

    def send(self, receiver: ProxiedRequest, method: bytes, data: bytes) -> None:
        """Send; say stop where that was too much."""
        if self._is_full:
            self.is_paused = True
            receiver.upstream_paused()


@pytest.mark.parametrize("is_full", [True, False])
async def test_an_upload_is_read_on_only_if_the_instance_takes_more(tls: Any, *, is_full: bool) -> None:
    """A large first piece is written at once: its stop comes before the request is said to be sent."""
    said: list[str] = []
    client: Any = SimpleNamespace(
        pause_reading=lambda: said.append("pause"), resume_reading=lambda: said.append("resume")
    )
    proxy: Any = SimpleNamespace(now=lambda: 0.0, response_timeout=lambda match: 1.0)
    context: Any = SimpleNamespace(head=SimpleNamespace(method=b"POST"), lines=b"", match=None)
    body: Any = SimpleNamespace(start=lambda: (b"", b"x" * LARGE), is_complete=False)
    upstream: Any = SimpleNamespace(instance_line=b"")
    proxied = ProxiedRequest(proxy, client, context, body)
    proxied._upstream = upstream
    connection: Any = Halting(is_full=is_full)
    assert proxied.connected(upstream, connection)
    assert said == (["pause"] if is_full else ["resume"])
