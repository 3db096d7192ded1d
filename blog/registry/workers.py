"""Workers: tasks that live as long as their owner. A TaskGroup whose end cancels what still runs."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Workers:
    """`async with Workers() as workers`: the failure of one ends the body, the body's end ends all."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._is_open = True
        return self

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin `work`; when the end has come already, it is dropped."""
        if not self._is_open:
            work.close()
            return
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel and await the workers. The body's own exception passes through unwrapped."""
        self._is_open = False
        for task in tuple(self._tasks):
            task.cancel()
        await self._group.__aexit__(None, None, None)
