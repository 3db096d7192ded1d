"""Load balancing, streams and errors through the public port, over real sockets."""

import asyncio
import gzip
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from blog.core.instance import State
from tests.gateway.wire import Reader, Writer

pytestmark = pytest.mark.parametrize("tls", ["plain", "TLS"], indirect=True)


async def test_everybody_gets_a_turn(rig: Any, count: Any) -> None:
    """Served longest ago comes first, and the answer says who it was."""
    ids = {(await rig.instance(count())).id for _ in range(3)}
    served: Counter[str] = Counter()
    for _ in range(9):
        async with rig.http.get(f"{rig.url}/things") as answer:
            served[answer.headers["Blog-Served-By"]] += 1
    assert served == {f"things/{id_}": 3 for id_ in ids}


async def test_no_live_instance_is_503_that_names_the_service(rig: Any, count: Any) -> None:
    """With Retry-After; the routes of a service outlive its instances."""
    instance = await rig.instance(count())
    rig.set_state(instance, State.GONE)
    async with rig.http.get(f"{rig.url}/things") as answer:
        problem = json.loads(await answer.read())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.content_type == "application/problem+json"
    assert "things" in problem["detail"]
    assert problem["service"] == "things"


class TestImpatient:
    """With a short time to answer."""

    @pytest.fixture
    def response_timeout(self) -> float:
        """Be impatient."""
        return 0.05

    async def test_no_answer_in_time_is_504(self, rig: Any) -> None:
        """And not asked again: the client has waited enough."""
        received: list[bytes] = []

        async def hang(reader: Reader, _: Writer) -> None:
            received.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.read()

        await rig.raw(hang)
        await rig.raw(hang)
        async with rig.http.get(f"{rig.url}/things") as answer:
            assert answer.status == 504
        assert len(received) == 1


async def test_after_the_first_byte_the_connection_is_broken_off(rig: Any) -> None:
    """Never a clean end of half an answer."""

    async def stream_and_die(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()

    await rig.raw(stream_and_die)
    async with rig.http.get(f"{rig.url}/things") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_client_that_goes_away_cancels_its_request(rig: Any) -> None:
    """The instance sees its connection close."""
    received, closed = asyncio.Event(), asyncio.Event()

    async def wait_for_the_end(reader: Reader, _: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.set()
        await reader.read()
        closed.set()

    await rig.raw(wait_for_the_end)
    _, writer = await rig.connect()
    writer.write(b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: 1\r\n\r\nx")
    async with asyncio.timeout(5):
        await received.wait()
        writer.close()
        await closed.wait()


async def test_server_sent_events_are_passed_on_one_by_one(rig: Any) -> None:
    """The head at once, each event as it comes; drain ends the stream cleanly."""
    say = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for n in range(2):
            await say.wait()
            say.clear()
            await response.write(b"data: %d\n\n" % n)
        await asyncio.Event().wait()
        return response

    await rig.instance(stream)
    async with asyncio.timeout(5), rig.http.get(f"{rig.url}/things") as answer:
        assert rig.member.health.streams.count == 1
        for n in range(2):
            say.set()
            assert await answer.content.readuntil(b"\n\n") == b"data: %d\n\n" % n
        rig.handler.end_streams()
        assert await answer.content.read() == b""
        await rig.member.health.streams.wait_until_zero()


async def test_bodies_stream_both_ways(rig: Any) -> None:
    """What the client has sent so far comes back before it sends the rest."""

    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    await rig.instance(echo)
    rest = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await rest.wait()
        yield b"second"

    async with asyncio.timeout(5), rig.http.post(f"{rig.url}/things", data=body()) as answer:
        assert await answer.content.readany() == b"first"
        rest.set()
        assert await answer.content.read() == b"second"


async def test_large_bodies_come_through_whole(rig: Any, count: Any) -> None:
    """A mebibyte in, several out."""
    seen = count()
    seen.name = "y" * (3 << 20)
    await rig.instance(seen)
    async with rig.http.put(f"{rig.url}/things", data=b"x" * (1 << 20)) as answer:
        assert await answer.text() == seen.name
    assert seen.requests == [("PUT", "/things", b"x" * (1 << 20))]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(rig: Any, count: Any, chunked: bool) -> None:  # noqa: FBT001 - a table
    """Whether it says so before or not; the instance does not get it whole."""
    seen = count()
    await rig.instance(seen)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65536

    data = body() if chunked else io.BytesIO(b"x" * (20 * 65536))
    async with rig.http.post(f"{rig.url}/things", data=data) as answer:
        assert answer.status == 413
        assert answer.content_type == "application/problem+json"
    assert not seen.requests


async def test_compressed_bodies_are_left_alone(rig: Any) -> None:
    """Both ways: the gateway is no reader of content."""
    packed = gzip.compress(b"hello")
    seen: list[bytes] = []

    async def answer_packed(request: web.Request) -> web.StreamResponse:
        seen.append(await request.content.read())
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    await rig.instance(answer_packed)
    headers = {"Content-Encoding": "gzip"}
    async with rig.http.put(f"{rig.url}/things", data=packed, headers=headers) as answer:
        assert await answer.read() == packed
        assert answer.headers["Content-Encoding"] == "gzip"
    assert seen == [b"hello"]  # aiohttp's server has unpacked it; the bytes were sound


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answers_without_bodies_have_none(rig: Any, method: str, status: int) -> None:
    """HEAD goes where GET goes, and keeps the length of what GET would get."""

    async def answer_bare(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="hello" if request.method == "HEAD" else None)

    await rig.instance(answer_bare)
    head = f"{method} /things HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\r\n".encode()
    answered = await rig.send(head)
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())
    assert answered.endswith(b"\r\n\r\n")
    assert (b"Content-Length: 5\r\n" in answered) is (method == "HEAD")


@pytest.mark.parametrize(
    "target",
    [
        "/things/__proto__",
        "/things/..%2f..%2fetc",
        "/things/%00",
        "/things/a%2Fb?x=%20+&y",
        "/things/%ff",
    ],
)
async def test_odd_ids_are_passed_on_as_they_are(rig: Any, count: Any, target: str) -> None:
    """Percent-encoding kept, byte for byte."""
    seen = count()
    await rig.instance(seen)
    request = f"GET {target} HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\r\n".encode()
    assert b"200 OK" in await rig.send(request)
    assert [path for _, path, _ in seen.requests] == [target]


async def test_an_instance_that_fails_again_and_again_is_left_out(rig: Any, count: Any) -> None:
    """Five 5xx in a row; its answers still reach the client that got them."""
    failing = count(status=500)
    await rig.instance(failing)
    await rig.instance(count())
    statuses: Counter[int] = Counter()
    for _ in range(20):
        async with rig.http.get(f"{rig.url}/things") as answer:
            statuses[answer.status] += 1
    assert statuses == {200: 15, 500: 5}
