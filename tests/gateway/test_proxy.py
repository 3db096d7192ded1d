"""Turns, retries and streams through the door, over real sockets."""

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
from blog.http.limits import REPLAY_LIMIT

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def die(reader: Reader, _: Writer) -> None:
    """Read a request's head and close without a word."""
    await reader.readuntil(b"\r\n\r\n")


async def test_everybody_gets_a_turn(rig: Any, count: Any) -> None:
    """Served longest ago comes first, and the answer says who it was."""
    ids = {(await rig.instance(count())).id for _ in range(3)}
    served: Counter[str] = Counter()
    for _ in range(9):
        async with rig.http.get(f"{rig.url}/things") as answer:
            served[answer.headers["Blog-Served-By"]] += 1
    assert served == {f"things/{id_}": 3 for id_ in ids}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("size", [0, 3, REPLAY_LIMIT + 1])
async def test_refused_goes_to_the_next_with_any_method(
    rig: Any, count: Any, method: str, size: int
) -> None:
    """It was never sent, whole body included; the registry is told who is gone."""
    gone, seen = rig.dead(), count()
    await rig.instance(seen)
    for _ in range(2):
        async with rig.http.request(method, f"{rig.url}/things", data=b"x" * size) as answer:
            assert answer.status == 200
    assert seen.requests == [(method, "/things", b"x" * size)] * 2
    assert gone.id in {id_ for id_, _ in rig.reports}


async def test_misdirected_goes_to_the_next(rig: Any, count: Any) -> None:
    """421 counts as never sent, for POST too."""
    other, seen = count(status=421), count()
    await rig.instance(other)
    await rig.instance(seen)
    for _ in range(2):
        async with rig.http.post(f"{rig.url}/things", data=b"x") as answer:
            assert answer.status == 200
    assert len(seen.requests) == 2
    assert other.requests


async def test_a_get_whose_instance_dies_is_asked_of_another(rig: Any, count: Any) -> None:
    """Before a byte of the answer, the client sees nothing of it."""
    await rig.raw(die)
    await rig.instance(count())
    for _ in range(4):
        async with rig.http.get(f"{rig.url}/things") as answer:
            assert answer.status == 200


async def test_a_small_answer_is_held_until_it_is_whole(rig: Any, count: Any) -> None:
    """A crash half-way through its body is a crash before a byte."""

    async def half(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    await rig.raw(half)
    await rig.instance(count())
    for _ in range(4):
        async with rig.http.get(f"{rig.url}/things") as answer:
            assert (answer.status, await answer.text()) == (200, "ok")


@pytest.mark.parametrize("warm", [False, True])
async def test_a_post_is_never_sent_twice(rig: Any, count: Any, warm: bool) -> None:  # noqa: FBT001 - a table
    """Nobody knows what the dead instance did: 502, on fresh and on pooled connections."""
    posts: list[bytes] = []
    seen = count()

    async def die_on_post(reader: Reader, writer: Writer) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                posts.append(head)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await rig.raw(die_on_post)
    if warm:
        async with rig.http.get(f"{rig.url}/things") as answer:
            assert answer.status == 200
    await rig.instance(seen)
    statuses = []
    for _ in range(2):
        async with rig.http.post(f"{rig.url}/things", data=b"x") as answer:
            statuses.append(answer.status)
    assert sorted(statuses) == [200, 502]
    assert (len(posts), len(seen.requests)) == (1, 1)


async def test_a_post_with_a_key_is_sent_to_another(rig: Any, count: Any) -> None:
    """Its service makes sure that twice is once."""
    await rig.raw(die)
    seen = count()
    await rig.instance(seen)
    for _ in range(2):
        async with rig.http.post(
            f"{rig.url}/things", data=b"x", headers={"Idempotency-Key": "k"}
        ) as answer:
            assert answer.status == 200
    assert seen.requests == [("POST", "/things", b"x")] * 2


async def test_no_retry_without_budget(rig: Any, count: Any) -> None:
    """An outage is not made worse: 502 instead."""
    await rig.raw(die)
    await rig.instance(count())
    while rig.turns.may_repeat():
        pass
    statuses = []
    for _ in range(2):
        async with rig.http.get(f"{rig.url}/things") as answer:
            statuses.append(answer.status)
    assert sorted(statuses) == [200, 502]


@pytest.mark.parametrize("state", [State.SUSPECT, State.GONE])
async def test_waiting_ends_when_the_instance_is_in_doubt(rig: Any, count: Any, state: State) -> None:
    """A GET that waits for a stopped instance is asked of another as soon as that is known."""
    asked = asyncio.Event()

    async def hang(reader: Reader, _: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    stopped = await rig.raw(hang)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.http.get(f"{rig.url}/things").__aenter__())
        await asked.wait()
        await rig.instance(count())
        rig.set_state(stopped, state)
        answer = await waiting
    assert answer.status == 200
    answer.release()


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


async def test_no_answer_in_time_is_504(rig: Any) -> None:
    """And not asked again: the client has waited enough."""

    async def hang(reader: Reader, _: Writer) -> None:
        await reader.read(1 << 16)
        await reader.read()

    await rig.raw(hang)
    rig.door.proxy._answer_timeout = 0.01
    async with rig.http.get(f"{rig.url}/things") as answer:
        assert answer.status == 504


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
    asked, closed = asyncio.Event(), asyncio.Event()

    async def wait_for_the_end(reader: Reader, _: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        closed.set()

    await rig.raw(wait_for_the_end)
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(b"POST /things HTTP/1.1\r\nHost: blog\r\nContent-Length: 1\r\n\r\nx")
    async with asyncio.timeout(5):
        await asked.wait()
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
        assert rig.member.operations.streams.count == 1
        for n in range(2):
            say.set()
            assert await answer.content.readuntil(b"\n\n") == b"data: %d\n\n" % n
        rig.door.end_streams()
        assert await answer.content.read() == b""
        await rig.member.operations.streams.wait_until_zero()


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
