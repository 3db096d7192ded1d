"""Doubts: instances that are being looked at. One probe at a time for each of them.

Who is doubted while a probe is under way gets another one after it: the first may have begun too soon.
"""

from collections.abc import Awaitable, Callable
from typing import Self

from blog.core.background import TaskSupervisor


class ProbeScheduler:
    """Looks at instances by their ids; `look` never raises."""

    def __init__(self, look: Callable[[str], Awaitable[None]]) -> None:
        self._look = look
        self._again: dict[str, bool] = {}
        self._tasks = TaskSupervisor("probe")
        self._is_open = False

    def begin(self, instance_id: str) -> None:
        """Look at the instance now, or once more when the look that is under way is over."""
        if instance_id in self._again:
            self._again[instance_id] = True
        elif self._is_open:
            self._again[instance_id] = False
            self._tasks.start(self._keep_looking(instance_id))

    async def _keep_looking(self, instance_id: str) -> None:
        try:
            await self._look(instance_id)
            while self._again[instance_id]:
                self._again[instance_id] = False
                await self._look(instance_id)
        finally:
            del self._again[instance_id]

    async def __aenter__(self) -> Self:
        self._is_open = True
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        await self._tasks.__aexit__()

    def __repr__(self) -> str:
        """Show who is looked at."""
        return f"<ProbeScheduler about {', '.join(self._again) or 'nobody'}>"
