"""Appender: what several callers append at the same time leaves as one batch, in one request.

Group commit begins here: the cost of a request is shared, and the log's writer gets its work in bulk.
Nobody waits for company: what comes while requests are under way leaves when one of them is back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from blog.core.background import TaskSupervisor
from blog.core.errors import BlogError

AT_ONCE = 2
"""Requests under way: while one is being committed, the next one is on its way."""
MAX_EVENTS = 128
MAX_BYTES = 512 * 1024
"""Limits of one request, unless a single caller's events have more."""

R = TypeVar("R")


class _PendingAppend(NamedTuple):
    """What one caller appends: JSON of so many events, and where the caller waits for the results."""

    events: bytes
    size: int
    results: "asyncio.Future[list[Any]]"


class AppendBatcher(Generic[R]):
    """Gathers what is appended. `send` gets the JSON of a batch and returns a result for each event.

    It raises BlogError for what the log refuses for good.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[list[R]]], tasks: TaskSupervisor) -> None:
        self._send = send
        self._tasks = tasks
        self._waiting: deque[_PendingAppend] = deque()
        self._under_way = 0

    def append(self, events: Sequence[str]) -> "asyncio.Future[list[R]]":
        """Append the JSON of each of `events`, all or none; the future has a result for each.

        It fails as `send` does. Whoever waits no longer may cancel it.
        """
        future: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_PendingAppend(",".join(events).encode(), len(events), future))
        if self._under_way < AT_ONCE:
            self._under_way += 1
            self._tasks.start(self._work())
        return future

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                await self._carry(batch)
        finally:
            self._under_way -= 1

    def _next_batch(self) -> list[_PendingAppend]:
        """Take who waited longest; who has given up is passed over."""
        batch: list[_PendingAppend] = []
        events = octets = 0
        while self._waiting:
            first = self._waiting[0]
            if batch and (events + first.size > MAX_EVENTS or octets + len(first.events) > MAX_BYTES):
                break
            self._waiting.popleft()
            if not first.results.done():
                batch.append(first)
                events += first.size
                octets += len(first.events)
        return batch

    async def _carry(self, batch: Sequence[_PendingAppend]) -> None:
        """Send a batch. A refusal for good may be about the events of one: then ask for each."""
        try:
            results = await self._send(b"[%b]" % b",".join(waiting.events for waiting in batch))
        except BlogError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for waiting in batch:
                if not waiting.results.done():
                    await self._carry([waiting])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait
            _fail(batch, error)
        else:
            rest = iter(results)
            for waiting in batch:
                mine = list(islice(rest, waiting.size))
                if not waiting.results.done():
                    waiting.results.set_result(mine)

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<AppendBatcher: {self._under_way} under way, {len(self._waiting)} waiting>"


def _fail(batch: Sequence[_PendingAppend], error: Exception) -> None:
    for waiting in batch:
        if not waiting.results.done():
            waiting.results.set_exception(error)
