"""Cuts: waiting that somebody else may end before its time. No tasks, only deadlines.

A request waits for an instance; when that turns suspect or is lost, the waiting is cut. A stream
flows to a client; when the gateway drains, it is cut.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cut(Exception):
    """The waiting was ended from outside."""


class Cuts:
    """What is waited for now, by name."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Timeout]] = {}

    @asynccontextmanager
    async def waiting(self, name: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Run the body for at most `seconds`.

        Raises Cut if `cut(name)` came first, TimeoutError if the time was up.
        """
        deadline = asyncio.timeout(seconds)
        self._waiting.setdefault(name, set()).add(deadline)
        try:
            async with deadline:
                yield
        except TimeoutError:
            if deadline.expired() and deadline not in self._waiting.get(name, ()):
                raise Cut(name) from None
            raise
        finally:
            self._forget(name, deadline)

    def names(self) -> tuple[str, ...]:
        """Return what is waited for."""
        return tuple(self._waiting)

    def cut(self, name: str) -> None:
        """End every waiting under `name` now."""
        for deadline in self._waiting.pop(name, ()):
            if not deadline.expired():
                deadline.reschedule(0)

    def _forget(self, name: str, deadline: asyncio.Timeout) -> None:
        waiting = self._waiting.get(name, set())
        waiting.discard(deadline)
        if not waiting:
            self._waiting.pop(name, None)

    def __repr__(self) -> str:
        """Show how many wait for what."""
        shown = (f"{name}: {len(waiting)}" for name, waiting in self._waiting.items())
        return f"<Cuts: {', '.join(shown) or 'nothing'}>"
