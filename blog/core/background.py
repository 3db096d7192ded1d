"""Background tasks: owned by a context that ends them, and their failures are seen."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from blog.core.logs import get_logger

log = get_logger()


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` while the body runs; leaving the body cancels it, its failure ends the body.

    A single failure is raised as itself, not as a group of one, so that callers can name it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(item) for item in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as failures:
        if len(failures.exceptions) == 1:
            raise failures.exceptions[0] from None
        raise


async def first_of(*work: Coroutine[Any, Any, Any]) -> None:
    """Run `work` until one of it is done, and cancel the rest; a failure is raised as itself."""
    is_done = asyncio.Event()

    async def run(item: Coroutine[Any, Any, Any]) -> None:
        await item
        is_done.set()

    try:
        async with background(*(run(item) for item in work)):
            await is_done.wait()
    finally:
        for item in work:  # one that was cancelled before it started was never awaited
            item.close()


class TaskSupervisor:
    """Owns short tasks that callbacks start and do not await. Leaving the context cancels the rest.

    A failure is logged, and ends no other task.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work` in the running loop."""
        task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=self._name, exc_info=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        """Return how many tasks are running."""
        return len(self._tasks)

    def __repr__(self) -> str:
        """Show how many tasks are running."""
        return f"<TaskSupervisor {self._name}: {len(self._tasks)}>"
