"""ViewHost: follows the log into a view's file, and tells who waits how far it is."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from blog.bus.client import Batch, BusClient, BusLost, Head
from blog.core.contract import Applied
from blog.core.errors import Unavailable
from blog.core.logs import get_logger
from blog.core.view import View
from blog.runtime.store import Position, Store

R = TypeVar("R")
CHUNK = 200
"""Events per transaction: a few milliseconds of writing."""

_BACKLOG = 1000  # events that a slow listener may be behind before it is cut off
_COME_BACK = 0.5  # seconds, at most, before a broken stream is opened again (full jitter)
log = get_logger()


class ViewHost:
    """One view of this process. `open` it, run `keep_up` in the background, then read."""

    def __init__(self, store: Store, bus: BusClient, types: frozenset[str]) -> None:
        self.applied = 0
        self.changed = 0
        """Grows with every change of the rows, not later than `applied`."""
        self.log: str | None = None
        self._store = store
        self._bus = bus
        self._types = types
        self._moved = asyncio.Condition()
        self._listeners: set[Listener] = set()

    @staticmethod
    @asynccontextmanager
    async def open(view: type[View], folder: Path, bus: BusClient) -> AsyncIterator["ViewHost"]:
        """Open the file of `view` in the first free slot of `folder`."""
        async with Store(view, folder) as store:
            yield ViewHost(store, bus, frozenset(view.appliers))

    async def keep_up(self) -> None:
        """Follow the log for ever. Without a bus, keep what there is and try again."""
        while True:
            try:
                await self._settle_log(await self._bus.head())
                async for batch in self._bus.follow(self.applied, self._types):
                    if batch.log != self.log:
                        break
                    await self._take(batch)
            except (BusLost, Unavailable) as error:
                log.info("view.cut_off", applied=self.applied, why=str(error))
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
        """Call `work` with the view on its reading thread."""
        return await self._store.read(work)

    @contextmanager
    def changes(self) -> Iterator["Listener"]:
        """Listen to what is applied from now on."""
        listener = Listener(self)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _settle_log(self, head: Head) -> None:
        """Make sure that the file was built from this log; else start over and say so.

        A view that is ahead of its log was built from events that the log no longer has.
        """
        position = await self._store.position()
        if position is None or position.log != head.log or position.applied > head.sequence:
            if position is not None:
                log.warning("view.started_over", was=position, now=head)
            await self._store.start_over(head.log)
            self.changed += 1
            position = Position(head.log, 0)
        await self._move(position.log, position.applied)

    async def _take(self, batch: Batch) -> None:
        events = batch.events
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            last = start + CHUNK >= len(events)
            through = batch.through if last else chunk[-1].sequence or self.applied
            await self._publish(await self._store.apply(chunk, through), through)
        if not events and batch.through > self.applied:
            await self._publish(await self._store.apply((), batch.through), batch.through)

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


class Listener:
    """The `changes` of one stream: what the view applies from when it was made."""

    def __init__(self, host: ViewHost) -> None:
        self._host = host
        self._queue: asyncio.Queue[Applied | None] = asyncio.Queue()

    def put(self, applied: list[Applied]) -> None:
        """Pass on what was applied; a listener that is too far behind is cut off and comes back."""
        if self._queue.qsize() + len(applied) > _BACKLOG:
            self._queue.put_nowait(None)
            return
        for item in applied:
            self._queue.put_nowait(item)

    async def read(self, method: Callable[..., R], *args: Any) -> R:
        """Call a reading method of the view with `args`."""
        return await self._host.read(lambda view: method(view, *args))

    def __aiter__(self) -> "Listener":
        """Iterate over itself."""
        return self

    async def __anext__(self) -> Applied:
        """Wait for the next event that the view has applied."""
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        return item
