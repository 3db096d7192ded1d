"""What may be sent again, and how often: by tables, and through the public port over real sockets."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from blog.core.instance import State
from blog.gateway.upstream.retry import RetryBudget, is_retryable
from blog.http.limits import REPLAY_LIMIT
from tests.gateway.wire import Reader, Writer


@pytest.mark.parametrize(
    ("method", "has_key", "expected"),
    [
        (b"GET", False, True),
        (b"HEAD", False, True),
        (b"OPTIONS", False, True),
        (b"PUT", False, True),
        (b"DELETE", False, True),
        (b"POST", False, False),
        (b"PATCH", False, False),
        (b"POST", True, True),
    ],
)
def test_only_what_is_the_same_done_twice_may_be_repeated(
    method: bytes,
    has_key: bool,  # noqa: FBT001 - a table
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """By method, or because the client says so with a key."""
    assert is_retryable(method, has_key=has_key) is expected


def spent(budget: RetryBudget, now: float) -> int:
    """Take all retries there are."""
    count = 0
    while budget.try_spend(now):
        count += 1
    return count


def test_the_budget_is_ten_per_second_and_a_fifth_of_the_requests() -> None:
    """Saved up for ten seconds at most."""
    budget = RetryBudget(0.0)
    assert spent(budget, 0.0) == 100
    assert spent(budget, 1.0) == 10
    for _ in range(26):
        budget.requests += 1
    assert spent(budget, 1.0) == 5
    assert spent(budget, 1000.0) == 100


async def die(reader: Reader, _: Writer) -> None:
    """Read a request's head and close without a word."""
    await reader.readuntil(b"\r\n\r\n")


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
    while rig.balancer.try_spend_retry():
        pass
    statuses = []
    for _ in range(2):
        async with rig.http.get(f"{rig.url}/things") as answer:
            statuses.append(answer.status)
    assert sorted(statuses) == [200, 502]


@pytest.mark.parametrize("state", [State.SUSPECT, State.GONE])
async def test_waiting_ends_when_the_instance_is_in_doubt(rig: Any, count: Any, state: State) -> None:
    """A GET that waits for a stopped instance is asked of another as soon as that is known."""
    received = asyncio.Event()

    async def hang(reader: Reader, _: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.set()
        await reader.read()

    stopped = await rig.raw(hang)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.http.get(f"{rig.url}/things").__aenter__())
        await received.wait()
        await rig.instance(count())
        rig.set_state(stopped, state)
        answer = await waiting
    assert answer.status == 200
    answer.release()


async def test_a_post_that_waits_is_not_cut(rig: Any, count: Any) -> None:
    """Whatever becomes of others, and of its own instance while that still may answer."""
    received, say = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        received.set()
        await say.wait()
        return web.Response(text="late")

    instance = await rig.instance(slow)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.http.post(f"{rig.url}/things", data=b"x").__aenter__())
        await received.wait()
        await rig.instance(count())
        rig.set_state(instance, State.SUSPECT)
        say.set()
        answer = await waiting
    assert (answer.status, await answer.text()) == (200, "late")


async def test_a_get_is_not_cut_by_what_becomes_of_others(rig: Any, count: Any) -> None:
    """Only doubts about its own instance count."""
    received, say = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        received.set()
        await say.wait()
        return web.Response(text="late")

    instance = await rig.instance(slow)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.http.get(f"{rig.url}/things").__aenter__())
        await received.wait()
        rig.set_state(await rig.instance(count()), State.GONE)
        rig.set_state(instance, State.DRAINING)
        say.set()
        answer = await waiting
    assert (answer.status, await answer.text()) == (200, "late")
