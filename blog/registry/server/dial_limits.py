"""Dial limits: how many dial-backs a registry does at once for one joiner, and for all strangers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from blog.core.errors import TooMany


class Limit(NamedTuple):
    """Dial-backs of one joiner: at once, and waiting for their turn."""

    at_once: int
    waiting: int


TRUSTED = Limit(128, 20_000)
"""A machine that starts thousands of instances, each of which responds within milliseconds."""
STRANGER = Limit(8, 64)
"""An address without a token; a dial-back of it that fails takes a second."""
STRANGERS = Limit(64, 512)
"""All of those addresses: whoever is in a network of IPv6 has as many as they like."""


class _Queue:
    """Slots with a bound on those who wait for one."""

    def __init__(self, limit: Limit) -> None:
        self._slots = asyncio.Semaphore(limit.at_once)
        self._most = limit.at_once + limit.waiting
        self.users = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Raises TooMany when too many wait already."""
        if self.users >= self._most:
            raise TooMany("Too many dial-backs of yours are waiting.", headers={"Retry-After": "1"})
        self.users += 1
        try:
            async with self._slots:
                yield
        finally:
            self.users -= 1


class DialLimits:
    """The slots of each joiner, by the address that it connects from."""

    def __init__(self) -> None:
        self._by_peer: dict[str, _Queue] = {}
        self._strangers = _Queue(STRANGERS)

    @asynccontextmanager
    async def slot(self, peer: str, *, is_trusted: bool) -> AsyncIterator[None]:
        """Hold a slot of `peer` while the body dials. Raises TooMany when too many wait already."""
        queue = self._by_peer.get(peer)
        if queue is None:
            queue = self._by_peer[peer] = _Queue(TRUSTED if is_trusted else STRANGER)
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(queue.slot())
                if not is_trusted:
                    await stack.enter_async_context(self._strangers.slot())
                yield
        finally:
            if not queue.users:
                self._by_peer.pop(peer, None)

    def __repr__(self) -> str:
        """Show who dials, and how often at once."""
        users = ", ".join(f"{peer}={queue.users}" for peer, queue in self._by_peer.items())
        return f"<DialLimits: {users or 'nobody'}>"
