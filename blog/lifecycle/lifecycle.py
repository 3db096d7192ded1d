"""Lifecycle: how the starter of an instance (a process, the in-process runtime) talks to it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from blog.core.background import first_of
from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.registry.client.discovery import Discovery


class BoundMember(Protocol):
    """An instance that has bound its port and announces itself, as its starter sees it."""

    @property
    def instance(self) -> Instance:
        """The instance as it announces itself."""
        ...

    @property
    def discovery(self) -> Discovery:
        """The table of the services that it follows."""
        ...

    def crash(self) -> None:
        """Break all connections off, as after kill -9."""

    def pause(self) -> None:
        """Behave like a stopped process."""

    def resume(self) -> None:
        """Go on after `pause`."""


class Lifecycle:
    """One per running instance. Setting `stopping` asks it to drain and return."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = asyncio.Event()
        self.member: BoundMember | None = None
        """The instance, None before it has bound its port."""
        self._is_bound = asyncio.Event()

    def bind(self, member: BoundMember) -> None:
        """Announce to the starter that the port is bound and `member` can join."""
        self.member = member
        self._is_bound.set()

    async def bound(self) -> BoundMember:
        """Wait until the instance has bound its port, and return it; one that fails before never does."""
        await self._is_bound.wait()
        assert self.member is not None
        return self.member

    def stop(self) -> None:
        """Ask the instance to drain, leave and return. Asking again changes nothing."""
        self.stopping.set()

    async def until_stopping(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do `work`, but cancel it when asked to stop; return whether it was done."""
        is_done = False

        async def finish() -> None:
            nonlocal is_done
            await work
            is_done = True

        await first_of(finish(), self.stopping.wait())
        return is_done

    def __repr__(self) -> str:
        """Show the instance, and whether it was asked to stop."""
        who = self.member.instance.id if self.member else "an instance that is not bound"
        return f"<Lifecycle of {who}{', stopping' if self.stopping.is_set() else ''}>"
