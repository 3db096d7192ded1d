"""Append batcher: what several callers append at the same time leaves as one batch, in one request.

Group commit begins here: the cost of a request is shared, and the log's writer gets its work in bulk.
Nothing waits for company: what comes while requests are in flight leaves when one of them is done.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from blog.core.background import TaskSupervisor
from blog.core.errors import BlogError

MAX_IN_FLIGHT = 2
"""Requests in flight: while one is being committed, the next one is on its way."""
MAX_EVENTS = 128
MAX_BYTES = 512 * 1024
"""Limits of one request, unless a single caller's events have more."""

R = TypeVar("R")


class _PendingAppend(NamedTuple):
    """What one caller appends: the JSON of `size` events, and where the caller waits for the results."""

    events: bytes
    size: int
    results: "asyncio.Future[list[Any]]"


class AppendBatcher(Generic[R]):
    """Gathers appends into batches. `send` gets the JSON of a batch and returns a result for each event.

    It raises BlogError for what the log refuses for good.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[list[R]]], tasks: TaskSupervisor) -> None:
        self._send = send
        self._tasks = tasks
        self._pending: deque[_PendingAppend] = deque()
        self._in_flight = 0

    def append(self, events: Sequence[str]) -> "asyncio.Future[list[R]]":
        """Append the JSON of each of `events`, all or none; the future has a result for each.

        It fails as `send` does. A caller that waits no longer may cancel it.
        """
        future: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._pending.append(_PendingAppend(",".join(events).encode(), len(events), future))
        if self._in_flight < MAX_IN_FLIGHT:
            self._in_flight += 1
            self._tasks.start(self._send_pending())
        return future

    async def _send_pending(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send_batch(batch)
        finally:
            self._in_flight -= 1

    def _next_batch(self) -> list[_PendingAppend]:
        """Take the appends that waited longest; those that were cancelled are left out."""
        batch: list[_PendingAppend] = []
        events = octets = 0
        while self._pending:
            first = self._pending[0]
            if batch and (events + first.size > MAX_EVENTS or octets + len(first.events) > MAX_BYTES):
                break
            self._pending.popleft()
            if not first.results.done():
                batch.append(first)
                events += first.size
                octets += len(first.events)
        return batch

    async def _send_batch(self, batch: Sequence[_PendingAppend]) -> None:
        """Send a batch. A final refusal may be about the events of one caller: then send each alone."""
        try:
            results = await self._send(b"[%b]" % b",".join(pending.events for pending in batch))
        except BlogError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for pending in batch:
                if not pending.results.done():
                    await self._send_batch([pending])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait
            _fail(batch, error)
        else:
            rest = iter(results)
            for pending in batch:
                own = list(islice(rest, pending.size))
                if not pending.results.done():
                    pending.results.set_result(own)

    def __repr__(self) -> str:
        """Show what is in flight."""
        return f"<AppendBatcher: {self._in_flight} in flight, {len(self._pending)} pending>"


def _fail(batch: Sequence[_PendingAppend], error: Exception) -> None:
    for pending in batch:
        if not pending.results.done():
            pending.results.set_exception(error)
