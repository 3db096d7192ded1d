"""What several callers append at the same time leaves together, and each gets its own results."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from blog.core.background import TaskSupervisor
from blog.core.errors import Conflict
from blog.eventlog.append_batcher import MAX_BYTES, MAX_EVENTS, MAX_IN_FLIGHT, AppendBatcher


class Log:
    """Answers each event with itself, once it is let."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.go = asyncio.Event()

    async def send(self, body: bytes) -> list[Any]:
        """Take a batch. What says `refused` is refused for good, `broken` breaks the connection."""
        batch: list[Any] = json.loads(body)
        self.batches.append(batch)
        await self.go.wait()
        if "refused" in batch:
            raise Conflict("no")
        if "broken" in batch:
            raise OSError("gone")
        return batch


@pytest.fixture
async def log() -> Log:
    """Give a log."""
    return Log()


@pytest.fixture
async def batcher(log: Log) -> AsyncIterator[AppendBatcher[Any]]:
    """Give a batcher for it."""
    async with TaskSupervisor("test") as tasks:
        yield AppendBatcher(log.send, tasks)


async def settle() -> None:
    """Let every task do what it can do now."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_alone_leaves_at_once(log: Log, batcher: AppendBatcher[Any]) -> None:
    """Nobody waits for company."""
    log.go.set()
    assert await batcher.append(["1", "2"]) == [1, 2]
    assert await batcher.append(["3"]) == [3]
    assert log.batches == [[1, 2], [3]]


async def test_what_comes_meanwhile_leaves_together(log: Log, batcher: AppendBatcher[Any]) -> None:
    """A few requests in flight, the rest in one; each caller gets what is its own."""
    waiting = []
    for n in range(10):
        waiting.append(batcher.append([str(n), str(n + 100)]))
        await settle()
    assert log.batches == [[n, n + 100] for n in range(MAX_IN_FLIGHT)]
    log.go.set()
    assert await asyncio.gather(*waiting) == [[n, n + 100] for n in range(10)]
    assert len(log.batches) == MAX_IN_FLIGHT + 1


@pytest.mark.parametrize(("event", "most"), [("1", MAX_EVENTS), (f'"{"x" * (MAX_BYTES // 4)}"', 3)])
async def test_a_request_has_limits(log: Log, batcher: AppendBatcher[Any], event: str, most: int) -> None:
    """In events and in bytes; one caller's events are never torn apart."""
    waiting = [batcher.append([event]) for _ in range(most + 1)]
    log.go.set()
    await asyncio.gather(*waiting)
    assert max(map(len, log.batches)) == most
    assert len(await batcher.append([event] * (most + 1))) == most + 1


async def test_what_is_refused_is_refused_to_whose_it_is(log: Log, batcher: AppendBatcher[Any]) -> None:
    """The others are asked for one by one."""
    waiting = [batcher.append([event]) for event in ("1", '"refused"', "2")]
    log.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [results[0], results[2]] == [[1], [2]]
    assert isinstance(results[1], Conflict)


async def test_what_breaks_breaks_for_all_who_travelled(log: Log, batcher: AppendBatcher[Any]) -> None:
    """Each decides whether to try again; the next batch is another matter."""
    waiting = [batcher.append([event]) for event in ("1", '"broken"')]
    log.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    assert await batcher.append(["3"]) == [3]


async def test_who_has_given_up_is_passed_over(log: Log, batcher: AppendBatcher[Any]) -> None:
    """Before it was sent, it never is; after, its result is dropped."""
    sent = [batcher.append([str(n)]) for n in range(MAX_IN_FLIGHT)]
    await settle()
    late = batcher.append(["9"])
    sent[0].cancel()
    late.cancel()
    log.go.set()
    assert await sent[1] == [1]
    await settle()
    assert [event for batch in log.batches for event in batch] == list(range(MAX_IN_FLIGHT))


async def test_who_gives_up_while_it_is_asked_for_each_is_passed_over(
    log: Log, batcher: AppendBatcher[Any]
) -> None:
    """A whole batch may be refused, by a full disk: a cancelled append is not sent again."""
    waiting = [batcher.append([event]) for event in ('"refused"', "1", "2")]
    await settle()
    waiting[1].cancel()
    log.go.set()
    assert await waiting[2] == [2]
    assert isinstance(waiting[0].exception(), Conflict)
    assert log.batches == [["refused", 1, 2], ["refused"], [2]]
