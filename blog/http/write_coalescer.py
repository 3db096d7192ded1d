"""Write coalescer: what is written in one iteration of the event loop is sent at its end, all together.

A write wakes the process that waits for it, on another core: that costs the writer more than the write.
When many connections are written one right after the other, the first one wakes that process and the
others find it awake. A single write waits for nothing: the iteration ends with it.
"""

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """A connection that has something to send."""

    def flush(self) -> None:
        """Pass everything to the transport."""


class WriteCoalescer:
    """The connections that have something to send in this iteration of `loop`."""

    __slots__ = ("_loop", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._scheduled: list[Flushable] = []

    def schedule(self, connection: Flushable) -> None:
        """Flush `connection` at the end of this iteration."""
        if not self._scheduled:
            # what is called soon runs after everything that was read in this iteration
            self._loop.call_soon(self._flush_all)
        self._scheduled.append(connection)

    def _flush_all(self) -> None:
        scheduled, self._scheduled = self._scheduled, []
        for connection in scheduled:
            connection.flush()

    def __repr__(self) -> str:
        """Show how many wait."""
        return f"<WriteCoalescer: {len(self._scheduled)} scheduled>"
