"""So many dial-backs at once for one joiner, and for all strangers."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from blog.core.errors import TooMany
from blog.registry.server.dial_limits import STRANGER, STRANGERS, DialLimits


async def hold(limits: DialLimits, peer: str, running: set[str], may_end: asyncio.Event) -> None:
    """Dial until told to end."""
    async with limits.slot(peer, is_trusted=False):
        running.add(peer)
        await may_end.wait()


async def test_a_joiner_waits_for_its_own_dial_backs_only() -> None:
    """Beyond those that wait it is told to come later; another joiner is not concerned."""
    limits, may_end = DialLimits(), asyncio.Event()
    running = 0

    async def dial() -> None:
        nonlocal running
        async with limits.slot("10.0.0.1", is_trusted=False):
            running += 1
            await may_end.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(STRANGER.at_once + STRANGER.waiting):
            group.create_task(dial())
        await asyncio.sleep(0)
        with pytest.raises(TooMany) as refused:
            async with limits.slot("10.0.0.1", is_trusted=False):
                pass
        assert refused.value.headers["Retry-After"]
        assert running == STRANGER.at_once
        async with asyncio.timeout(5), limits.slot("10.0.0.2", is_trusted=False):
            pass
        may_end.set()
    assert running == STRANGER.at_once + STRANGER.waiting
    assert repr(limits) == "<DialLimits: nobody>"


async def test_all_strangers_together_have_a_bound() -> None:
    """Whoever has many addresses has not more; who is trusted does not wait for strangers."""
    limits, may_end, running = DialLimits(), asyncio.Event(), set[str]()
    async with asyncio.TaskGroup() as group:
        for number in range(STRANGERS.at_once + 5):
            group.create_task(hold(limits, f"fd00::{number:x}", running, may_end))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(running) == STRANGERS.at_once
        async with asyncio.timeout(5), AsyncExitStack() as stack:
            for _ in range(20):
                await stack.enter_async_context(limits.slot("127.0.0.1", is_trusted=True))
        may_end.set()
    assert len(running) == STRANGERS.at_once + 5
