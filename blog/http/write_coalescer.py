"""Outbox: what is written in one turn of the event loop leaves at its end, all together.

A write wakes whoever waits for it, on another core: that costs the writer more than the write. When
many connections are written one right after the other, the first one wakes and the others find
everybody awake. A single write waits for nothing: the turn ends with it.
"""

import asyncio
from typing import Protocol


class Sender(Protocol):
    """A connection that has something to send."""

    def send_now(self) -> None:
        """Hand everything to the transport."""


class WriteCoalescer:
    """Who has something to send in this turn of `loop`."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Sender] = []

    def put(self, sender: Sender) -> None:
        """Let `sender` send at the end of this turn."""
        if not self._waiting:
            # what is called soon runs after everything that was read in this turn
            self._loop.call_soon(self._send_all)
        self._waiting.append(sender)

    def _send_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.send_now()

    def __repr__(self) -> str:
        """Show how many wait."""
        return f"<WriteCoalescer: {len(self._waiting)} waiting>"
