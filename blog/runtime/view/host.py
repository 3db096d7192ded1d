"""ViewHost: follows the log into a view's file, and notifies those who wait for a sequence.

While a new file is being built beside the one that readers have, its content is not published.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from blog.core.backoff import spread
from blog.core.contract import Applied
from blog.core.errors import BlogError, Unavailable
from blog.core.logs import get_logger
from blog.core.view import View
from blog.eventlog.client import EventBatch, EventLogClient, UnreadableEvent
from blog.eventlog.wire import Head
from blog.runtime.view.files import ViewPosition
from blog.runtime.view.snapshot import SnapshotCopy
from blog.runtime.view.store import ViewStore

R = TypeVar("R")
Fetch = Callable[[Path, ViewPosition], Awaitable[bool]]
"""Gets a snapshot from another replica: where to put it, and the position that it has to be ahead of."""

SNAPSHOT_THRESHOLD = 20_000
"""Events. A view that lags by more than this at its start first asks another replica for a snapshot."""

_LIVE_BUDGET = 0.005  # seconds that a transaction may take
_CATCH_UP_BUDGET = 0.05  # the same on the way to what was the head when the stream was opened
_MAX_BACKLOG = 1000  # events that a slow listener may lag before it is disconnected
_RECONNECT = 0.5  # seconds at the most before a broken stream is opened again
_UNREADABLE_RETRY = 5.0  # seconds until an event that could not be read is tried again
_UPDATE = "this view waits there and tries again; run a version that can read it"
log = get_logger()


class ViewHost:
    """One view of this process. `open` it, run `follow_log` in the background, then read."""

    def __init__(
        self, store: ViewStore, bus: EventLogClient, types: frozenset[str], fetch: Fetch | None = None
    ) -> None:
        self.applied = 0
        """The last sequence in the rows that readers see, of the log `log`."""
        self.generation = 0
        """Grows with every change of the rows, not later than `applied`."""
        self.log: str | None = None
        self._store = store
        self._bus = bus
        self._types = types
        self._fetch = fetch
        self._target = 0
        self._unreadable_after: int | None = None
        self._advanced = asyncio.Condition()
        self._listeners: set[ChangeListener] = set()

    @staticmethod
    @asynccontextmanager
    async def open(
        view: type[View], folder: Path, bus: EventLogClient, fetch: Fetch | None = None
    ) -> AsyncIterator["ViewHost"]:
        """Lock the first free files in `folder` for `view`; `fetch` may save a long replay."""
        async with ViewStore(view, folder) as store:
            yield ViewHost(store, bus, frozenset(view.appliers), fetch)

    async def follow_log(self) -> None:
        """Follow the log for ever. Without a bus, keep what there is and try again."""
        while True:
            try:
                position = await self._resume(await self._bus.head())
                async for batch in self._bus.follow(position.applied, self._types):
                    if batch.log != self.log:
                        break
                    await self._apply_readable(batch)
            except UnreadableEvent as error:
                await self._wait_before_unreadable(str(error))
            except BlogError as error:
                log.info("view.disconnected", applied=self.applied, reason=str(error))
            except sqlite3.OperationalError as error:  # a full disk: it can be read all the same
                log.warning("view.write_failed", applied=self.applied, reason=str(error))
            # full jitter: a bus that returns does not get all its followers at once
            await asyncio.sleep(spread(0, _RECONNECT))

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
                log.warning("bus.not_found", reason=error.detail, next="trying again")
                await asyncio.sleep(spread(0, _RECONNECT))
            else:
                await self.wait_for(head.sequence, None, head.log)
                return

    async def wait_for(self, sequence: int, timeout: float | None, log_id: str | None = None) -> bool:
        """Wait until `sequence` is applied (of the log `log_id`); return whether it was in time."""
        try:
            async with asyncio.timeout(timeout), self._advanced:
                await self._advanced.wait_for(
                    lambda: self.applied >= sequence and (log_id is None or self.log == log_id)
                )
        except TimeoutError:
            return False
        return True

    async def read(self, work: Callable[[Any], R]) -> R:
        """Call `work` with the view on its reading thread. Raises Unavailable before it was built."""
        return await self._store.read(work)

    async def copy(self, stop: threading.Event) -> tuple[Path, SnapshotCopy]:
        """Copy the view for another replica until `stop`; return the path of the copy, and what it is."""
        return self._store.files.outgoing, await self._store.copy(stop)

    @contextmanager
    def changes(self) -> Iterator["ChangeListener"]:
        """Listen to what is applied from now on."""
        listener = ChangeListener(self, self._listeners.discard)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _resume(self, head: Head) -> ViewPosition:
        """Resume with the file that fits the log, or begin a new one; return its position."""
        position = await self._store.open_for(head)
        fetch, self._fetch = self._fetch, None  # at the start only: later, readers have what there is
        if fetch is not None and head.sequence - position.applied > SNAPSHOT_THRESHOLD:
            if await fetch(self._store.files.incoming, position):
                await self._store.adopt_snapshot()
            head = await self._bus.head()
            position = await self._store.open_for(head)
        self._target = head.sequence
        if self._store.is_building:
            log.info("view.building", applied=position.applied, head=head)
            await self._advance(head.log, 0)
            await self._swap_when_complete(position.applied)
        else:
            await self._advance(head.log, position.applied)
        return position

    async def _wait_before_unreadable(self, reason: str) -> None:
        """Wait where an event cannot be read; said once for each place."""
        if self._unreadable_after != self.applied:
            self._unreadable_after = self.applied
            log.error("event.unreadable", applied=self.applied, reason=reason, next=_UPDATE)
        await asyncio.sleep(_UNREADABLE_RETRY)

    async def _apply_readable(self, batch: EventBatch) -> None:
        """Apply a batch, up to an event that cannot be read. Raises UnreadableEvent after that."""
        try:
            await self._apply(batch)
        except UnreadableEvent as error:
            await self._apply(error.before)
            raise

    async def _apply(self, batch: EventBatch) -> None:
        """Apply a batch, in transactions that are short where readers wait for them."""
        if batch.through <= self.applied:
            return  # a heartbeat of a quiet stream
        budget = _LIVE_BUDGET if batch.through > self._target else _CATCH_UP_BUDGET
        index, through = 0, -1
        while through < batch.through:
            step = await self._store.apply(batch, index, budget=budget)
            index, through = step.next, step.through
            if not self._store.is_building:
                await self._publish(step.applied, through)
        await self._swap_when_complete(through)

    async def _swap_when_complete(self, through: int) -> None:
        """Swap the new file in once it holds what the head was; listeners are disconnected."""
        if self._store.is_building and through >= self._target:
            await self._store.swap_in()
            self.generation += 1
            log.info("view.swapped_in", applied=through)
            for listener in list(self._listeners):
                listener.disconnect()
            await self._advance(self.log, through)

    async def _publish(self, applied: list[Applied], through: int) -> None:
        self.generation += bool(applied)
        for listener in list(self._listeners):
            listener.put(applied)
        await self._advance(self.log, through)

    async def _advance(self, log_id: str | None, applied: int) -> None:
        async with self._advanced:
            self.log, self.applied = log_id, applied
            self._advanced.notify_all()

    def __repr__(self) -> str:
        """Show the position."""
        return f"<ViewHost at {self.applied} of log {self.log}, {len(self._listeners)} listeners>"


class ChangeListener:
    """The `changes` of one stream: what the view applies from when it was made."""

    def __init__(self, view: ViewHost, unsubscribe: Callable[["ChangeListener"], None]) -> None:
        self._view = view
        self._unsubscribe = unsubscribe
        self._queue: asyncio.Queue[Applied | None] = asyncio.Queue()

    def put(self, applied: list[Applied]) -> None:
        """Pass on what was applied; a listener that lags too far is disconnected, and reconnects."""
        if self._queue.qsize() + len(applied) > _MAX_BACKLOG:
            self.disconnect()
            return
        for item in applied:
            self._queue.put_nowait(item)

    def disconnect(self) -> None:
        """End the stream after what it has got; later events are not kept for it."""
        self._unsubscribe(self)
        self._queue.put_nowait(None)

    async def read(self, method: Callable[..., R], *args: Any) -> R:
        """Call a reading method of the view with `args`."""
        return await self._view.read(lambda view: method(view, *args))

    def __aiter__(self) -> "ChangeListener":
        """Iterate over itself."""
        return self

    async def __anext__(self) -> Applied:
        """Wait for the next event that the view has applied."""
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        return item
