"""Waiting that ends before its time."""

import asyncio

import pytest

from blog.gateway.cuts import Cut, Cuts


async def test_cutting_ends_every_waiting_of_that_name() -> None:
    """And no other."""
    cuts = Cuts()
    ended: list[str] = []

    async def wait(name: str, until: asyncio.Event) -> None:
        try:
            async with cuts.waiting(name):
                await until.wait()
        except Cut:
            ended.append(name)

    free = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name in ("a", "a", "b"):
            group.create_task(wait(name, free))
        await asyncio.sleep(0)
        assert repr(cuts) == "<Cuts: a: 2, b: 1>"
        cuts.cut("a")
        cuts.cut("nobody")
        while len(ended) < 2:
            await asyncio.sleep(0)
        free.set()
    assert ended == ["a", "a"]
    assert cuts.names() == ()


async def test_time_that_passes_is_no_cut() -> None:
    """It is a TimeoutError, and so is one from inside."""
    cuts = Cuts()
    with pytest.raises(TimeoutError):
        async with cuts.waiting("a", 0.0):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with cuts.waiting("a", 5.0):
            raise TimeoutError
    assert cuts.names() == ()
