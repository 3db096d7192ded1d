"""Lifecycle: how whoever starts an instance (a process, the in-process harness) talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from blog.core.background import background
from blog.core.clock import Clock

if TYPE_CHECKING:
    from blog.lifecycle.member import Member


class Lifecycle:
    """One per running instance. Setting `stopping` asks it to drain and return."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = asyncio.Event()
        self.member: Member | None = None

    def stop(self) -> None:
        """Ask the instance to drain, leave and return. Asking again changes nothing."""
        self.stopping.set()

    async def until_stopping(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do `work`, but give it up when asked to stop; tell whether it was done."""
        done = asyncio.Event()

        async def finish() -> None:
            await work
            done.set()

        async with background(finish()):
            await self._first_of(done)
        return done.is_set()

    async def _first_of(self, done: asyncio.Event) -> None:
        """Wait until `done` or `stopping` is set."""
        either = asyncio.Event()

        async def wait_for(event: asyncio.Event) -> None:
            await event.wait()
            either.set()

        async with background(wait_for(done), wait_for(self.stopping)):
            await either.wait()

    def __repr__(self) -> str:
        """Show whether it was asked to stop, and who runs in it."""
        who = self.member.instance.id if self.member else "nobody yet"
        return f"<Lifecycle of {who}{', stopping' if self.stopping.is_set() else ''}>"
