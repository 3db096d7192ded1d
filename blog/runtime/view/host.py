"""ViewHost: follows the log into a view's file, and tells who waits how far it is.

While a new file is being built beside the one that readers have, nobody is told of what is in it.
"""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from blog.core.contract import Applied
from blog.core.errors import Unavailable
from blog.core.logs import get_logger
from blog.core.view import View
from blog.eventlog.client import BusLost, EventBatch, EventLogClient
from blog.eventlog.wire import Head
from blog.runtime.view.files import ViewPosition
from blog.runtime.view.snapshot import SnapshotCopy
from blog.runtime.view.store import ViewStore

R = TypeVar("R")
Fetch = Callable[[Path, ViewPosition], Awaitable[bool]]
"""Gets a snapshot from a sibling: where to put it, and the position that it has to be ahead of."""

FAR_BEHIND = 20_000
"""Events. Who begins further behind than this first asks a sibling for a snapshot."""

_LIVE = 0.005  # seconds that a transaction may take
_BEHIND = 0.05  # the same on the way to what was the head when the stream was opened
_BACKLOG = 1000  # events that a slow listener may be behind before it is cut off
_COME_BACK = 0.5  # seconds, at most, before a broken stream is opened again (full jitter)
log = get_logger()


class ViewHost:
    """One view of this process. `open` it, run `keep_up` in the background, then read."""

    def __init__(
        self, store: ViewStore, bus: EventLogClient, types: frozenset[str], fetch: Fetch | None = None
    ) -> None:
        self.applied = 0
        """The last sequence that is in what readers read, of the log `log`."""
        self.changed = 0
        """Grows with every change of the rows, not later than `applied`."""
        self.log: str | None = None
        self._store = store
        self._bus = bus
        self._types = types
        self._fetch = fetch
        self._goal = 0
        self._moved = asyncio.Condition()
        self._listeners: set[ChangeListener] = set()

    @staticmethod
    @asynccontextmanager
    async def open(
        view: type[View], folder: Path, bus: EventLogClient, fetch: Fetch | None = None
    ) -> AsyncIterator["ViewHost"]:
        """Take the first free slot of `folder` for `view`; `fetch` may spare it a long way."""
        async with ViewStore(view, folder) as store:
            yield ViewHost(store, bus, frozenset(view.appliers), fetch)

    async def keep_up(self) -> None:
        """Follow the log for ever. Without a bus, keep what there is and try again."""
        while True:
            try:
                position = await self._settle(await self._bus.head())
                async for batch in self._bus.follow(position.applied, self._types):
                    if batch.log != self.log:
                        break
                    await self._take(batch)
            except (BusLost, Unavailable) as error:
                log.info("view.cut_off", applied=self.applied, why=str(error))
            except sqlite3.OperationalError as error:  # a full disk: it can be read all the same
                log.warning("view.not_written", applied=self.applied, why=str(error))
            # full jitter: a bus that returns is not met by everybody at once
            await asyncio.sleep(random.uniform(0, _COME_BACK))  # noqa: S311 - no secret

    async def catch_up(self, timeout: float = 5.0) -> None:
        """Return when the view holds what the log's head is now.

        Raises Unavailable when the bus or the view does not get there within `timeout` seconds.
        """
        head = await self._bus.head(timeout)
        if not await self.wait_for(head.sequence, timeout, head.log):
            raise Unavailable(
                "The view has not caught up with the log yet.", headers={"Retry-After": "1"}
            )

    async def catch_up_at_start(self) -> None:
        """Return when the view holds the head of the log as it is now, however long that takes."""
        while True:
            try:
                head = await self._bus.head()
            except Unavailable as error:
                log.warning("bus.not_found", why=error.detail, next="trying again")
            else:
                await self.wait_for(head.sequence, None, head.log)
                return

    async def wait_for(self, sequence: int, timeout: float | None, log_id: str | None = None) -> bool:
        """Wait until `sequence` is applied (of the log `log_id`); tell whether it was in time."""
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(
                    lambda: self.applied >= sequence and (log_id is None or self.log == log_id)
                )
        except TimeoutError:
            return False
        return True

    async def read(self, work: Callable[[Any], R]) -> R:
        """Call `work` with the view on its reading thread. Raises Unavailable before it was built."""
        return await self._store.read(work)

    async def copy(self, stop: threading.Event) -> tuple[Path, SnapshotCopy]:
        """Copy the view for a sibling until `stop`; return where to, and what it is."""
        return self._store.slot.outgoing, await self._store.copy(stop)

    @contextmanager
    def changes(self) -> Iterator["ChangeListener"]:
        """Listen to what is applied from now on."""
        listener = ChangeListener(self, self._listeners.discard)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _settle(self, head: Head) -> ViewPosition:
        """Go on with the file that fits the log, or begin a new one; return where its rows stand."""
        position = await self._store.settle(head)
        fetch, self._fetch = self._fetch, None  # at the start only: later, readers have what there is
        if fetch is not None and head.sequence - position.applied > FAR_BEHIND:
            if await fetch(self._store.slot.incoming, position):
                await self._store.take_in()
            head = await self._bus.head()
            position = await self._store.settle(head)
        self._goal = head.sequence
        if self._store.is_building:
            log.info("view.building", at=position.applied, head=head)
            await self._move(head.log, 0)
            await self._swap_when_whole(position.applied)
        else:
            await self._move(head.log, position.applied)
        return position

    async def _take(self, batch: EventBatch) -> None:
        """Apply what came, in transactions that are short where somebody waits for them."""
        if batch.through <= self.applied:
            return  # a quiet stream that says so
        budget = _LIVE if batch.through > self._goal else _BEHIND
        place, through = 0, -1
        while through < batch.through:
            step = await self._store.apply(batch, place, budget=budget)
            place, through = step.next, step.through
            if not self._store.is_building:
                await self._publish(step.applied, through)
        await self._swap_when_whole(through)

    async def _swap_when_whole(self, through: int) -> None:
        """Let readers have the new file once it holds what the head was; who listens comes back."""
        if self._store.is_building and through >= self._goal:
            await self._store.swap_in()
            self.changed += 1
            log.info("view.swapped_in", applied=through)
            for listener in list(self._listeners):
                listener.cut_off()
            await self._move(self.log, through)

    async def _publish(self, applied: list[Applied], through: int) -> None:
        self.changed += bool(applied)
        for listener in list(self._listeners):
            listener.put(applied)
        await self._move(self.log, through)

    async def _move(self, log_id: str | None, applied: int) -> None:
        async with self._moved:
            self.log, self.applied = log_id, applied
            self._moved.notify_all()

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<ViewHost at {self.applied} of log {self.log}, {len(self._listeners)} listeners>"


class ChangeListener:
    """The `changes` of one stream: what the view applies from when it was made."""

    def __init__(self, host: ViewHost, leave: Callable[["ChangeListener"], None]) -> None:
        self._host = host
        self._leave = leave
        self._queue: asyncio.Queue[Applied | None] = asyncio.Queue()

    def put(self, applied: list[Applied]) -> None:
        """Pass on what was applied; a listener that is too far behind is cut off and comes back."""
        if self._queue.qsize() + len(applied) > _BACKLOG:
            self.cut_off()
            return
        for item in applied:
            self._queue.put_nowait(item)

    def cut_off(self) -> None:
        """End the stream behind what it has got; what comes later is not kept for it."""
        self._leave(self)
        self._queue.put_nowait(None)

    async def read(self, method: Callable[..., R], *args: Any) -> R:
        """Call a reading method of the view with `args`."""
        return await self._host.read(lambda view: method(view, *args))

    def __aiter__(self) -> "ChangeListener":
        """Iterate over itself."""
        return self

    async def __anext__(self) -> Applied:
        """Wait for the next event that the view has applied."""
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        return item
