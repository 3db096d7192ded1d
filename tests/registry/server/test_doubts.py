"""One probe at a time."""

import asyncio

from blog.registry.server.doubts import ProbeScheduler


async def test_a_hundred_reports_are_two_probes() -> None:
    """The one that is under way, and one after it: the first may have begun too soon."""
    looked, may_end = list[str](), asyncio.Event()

    async def look(instance_id: str) -> None:
        looked.append(instance_id)
        await may_end.wait()

    async with ProbeScheduler(look) as doubts:
        for _ in range(100):
            doubts.begin("a")
            await asyncio.sleep(0)
        doubts.begin("b")
        may_end.set()
        while repr(doubts) != "<ProbeScheduler about nobody>":
            await asyncio.sleep(0)
        assert sorted(looked) == ["a", "a", "b"]
        doubts.begin("a")
        while repr(doubts) != "<ProbeScheduler about nobody>":
            await asyncio.sleep(0)
    assert looked.count("a") == 3


async def test_nothing_begins_after_the_end() -> None:
    """A session may close while the registry is closing."""

    async def look(_: str) -> None:
        raise AssertionError

    async with ProbeScheduler(look) as doubts:
        pass
    doubts.begin("a")
