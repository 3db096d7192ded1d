"""Rollouts at a master with a runtime without processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from blog.core.errors import Conflict, Invalid
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.replicas.rollout_runner import Rollout, RolloutRunner
from tests.fakes import FakeClock
from tests.master.fake_runtime import FakeRuntime

READY_TIMEOUT = 60.0


class Bench:
    """A master, its rollouts, and who counts as ready: whoever runs and is not in `late`."""

    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.clock = FakeClock()
        self.late: set[str] = set()
        self.reconciler: Reconciler
        self.rollouts: RolloutRunner

    def is_ready(self, replica: Replica) -> bool:
        """Return whether others know it as ready."""
        return replica.is_running and replica.name not in self.late

    @asynccontextmanager
    async def running(self, **desired: int) -> AsyncIterator["Bench"]:
        """Run so many of each."""
        async with (
            Reconciler.open(self.runtime, desired, self.clock) as self.reconciler,
            RolloutRunner.open(self.reconciler, self.is_ready, self.clock) as self.rollouts,
        ):
            await self.until(lambda: len(self.reconciler.running) == sum(desired.values()))
            yield self

    async def until(self, condition: Callable[[], bool], pace: float = 0.0) -> None:
        """Wait until it is so; at each look `pace` seconds have passed."""
        async with asyncio.timeout(10):
            while not condition():
                self.clock.advance(pace)
                await asyncio.sleep(0.005)

    async def over(self, rollout: Rollout, pace: float = 0.0) -> str:
        """Return how it ended."""
        await self.until(lambda: rollout.failure is not None, pace)
        return rollout.failure or ""


async def test_every_replica_is_replaced() -> None:
    """The old ones are asked to end, the new ones are as many, and nothing is left of it."""
    async with Bench().running(comments=3, posts=1) as bench:
        old = bench.runtime.living("comments")
        assert await bench.over(bench.rollouts.start("comments", READY_TIMEOUT)) == ""
        new = bench.runtime.living("comments")
        await bench.until(lambda: len(bench.runtime.living("comments")) == 3)
        assert len(bench.runtime.replicas) == 7
        assert all(
            replica.is_asked_to_end
            for replica in bench.runtime.replicas
            if replica.name in old and replica.is_over
        )
        assert len(new) == 3
        assert not any(replica.is_first_to_stop for replica in bench.reconciler.replicas)
        assert bench.reconciler.surge.total() == 0
        assert bench.runtime.living("posts") == ["posts-1"]


async def test_one_that_does_not_get_ready_ends_it_and_the_old_ones_stay() -> None:
    """The new one goes again, with its last words."""
    async with Bench().running(comments=2) as bench:
        bench.late.add("comments-3")
        rollout = bench.rollouts.start("comments", READY_TIMEOUT)
        await bench.until(lambda: "comments-3" in bench.runtime.living("comments"))
        bench.clock.advance(READY_TIMEOUT)
        assert await bench.over(rollout) == "comments-3 was not ready within 60 s"
        await bench.until(lambda: bench.runtime.living("comments") == ["comments-1", "comments-2"])
        assert rollout.lines[-1] == "comments-3 | comments-3: two"
        assert not any(replica.is_first_to_stop for replica in bench.reconciler.replicas)


async def test_a_crash_loop_ends_it_before_its_time() -> None:
    """Nobody waits a minute for what crashes at once."""
    async with Bench().running(comments=1) as bench:
        bench.runtime.crashing.add("comments")
        bench.late.add("comments-2")
        failure = await bench.over(bench.rollouts.start("comments", READY_TIMEOUT), pace=0.02)
        assert failure == "comments-2 crashes again and again"
        assert bench.runtime.living("comments") == ["comments-1"]


async def test_one_that_cannot_run_ends_it_at_once_and_says_why() -> None:
    """The file was broken after the blog started: nobody waits for the third try."""
    async with Bench().running(comments=1) as bench:
        bench.runtime.refusing.add("comments")
        failure = await bench.over(bench.rollouts.start("comments", READY_TIMEOUT))
        assert failure == "comments-2 cannot run: comments-2: two"
        await bench.until(lambda: len(bench.reconciler.replicas) == 1)
        assert bench.runtime.living("comments") == ["comments-1"]


async def test_one_at_a_time() -> None:
    """The second one is told of the first; after that one it may begin."""
    async with Bench().running(comments=1, posts=1) as bench:
        bench.late.add("comments-2")
        first = bench.rollouts.start("comments", READY_TIMEOUT)
        with pytest.raises(Conflict, match="comments"):
            bench.rollouts.start("posts", READY_TIMEOUT)
        bench.late.clear()
        await bench.over(first)
        assert await bench.over(bench.rollouts.start("posts", READY_TIMEOUT)) == ""


async def test_scaling_goes_on_meanwhile() -> None:
    """What is started meanwhile is new; what is stopped meanwhile is old."""
    async with Bench().running(comments=2) as bench:
        bench.late.add("comments-3")
        rollout = bench.rollouts.start("comments", READY_TIMEOUT)
        await bench.until(lambda: "comments-3" in bench.runtime.living("comments"))
        bench.reconciler.scale({"comments": 3})
        await bench.until(lambda: "comments-4" in bench.runtime.living("comments"))
        bench.reconciler.scale({"comments": 1})
        bench.late.clear()
        assert await bench.over(rollout) == ""
        await bench.until(lambda: len(bench.runtime.living("comments")) == 1)
        assert bench.runtime.living("comments")[0] in {"comments-3", "comments-4"}


@pytest.mark.parametrize("service", ["coments", "bus", "gateway"])
async def test_what_cannot_be_rolled_out(service: str) -> None:
    """What nobody knows, and what runs once."""
    async with Bench().running(bus=1, gateway=1) as bench:
        with pytest.raises(Invalid):
            bench.rollouts.start(service, READY_TIMEOUT)


async def test_a_blog_that_ends_breaks_it_off() -> None:
    """Whoever waits for it is told."""
    async with Bench().running(comments=1) as bench:
        bench.late.add("comments-2")
        rollout = bench.rollouts.start("comments", READY_TIMEOUT)
        await bench.until(lambda: "comments-2" in bench.runtime.living("comments"))
    assert rollout.failure == "the blog was stopped"
    assert bench.runtime.living("comments") == []
