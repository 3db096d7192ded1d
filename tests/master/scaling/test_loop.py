"""The loop joins signals, scaler, file and master."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blog.core.background import background
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.scaling.autoscale import ServiceLoad
from blog.master.scaling.loop import ScalingLoop
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.signals import LoadSignals
from blog.master.scaling.spec_file import SpecFileWatch
from tests.fakes import FakeClock
from tests.master.fake_runtime import FakeRuntime

TEXT = """
[services.posts]
replicas = 2
schedule = [{at = "0 10 * * *", replicas = 3}]
timezone = "UTC"
[services.comments]
autoscale = {max = 4, in_flight = 10}
"""


class FakeSignals(LoadSignals):
    """Says what a test wants it to."""

    def __init__(self) -> None:
        self.reads = 0
        self.now = ServiceLoad()

    async def refresh(self) -> None:
        """Count."""
        self.reads += 1

    def load(self, service: str) -> ServiceLoad:
        """Say it."""
        return self.now


class Bench:
    """A loop with its parts."""

    def __init__(self, loop: ScalingLoop, reconciler: Reconciler, signals: FakeSignals) -> None:
        self.loop = loop
        self.reconciler = reconciler
        self.signals = signals

    async def turn(self) -> None:
        """Let the loop go round once."""
        before = self.signals.reads
        async with background(self.loop.run()), asyncio.timeout(5):
            while self.signals.reads == before:
                await asyncio.sleep(0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Make one over a master that has two of comments already."""
    path = tmp_path / "blog.toml"
    path.write_text(TEXT)
    file, signals, clock = SpecFileWatch(path, ("posts", "comments")), FakeSignals(), FakeClock()
    async with Reconciler.open(FakeRuntime(), {}, clock) as reconciler:
        reconciler.replicas = [Replica("comments", number) for number in (1, 2)]
        yield Bench(
            ScalingLoop(reconciler, Scaler(file.specs), signals, file, clock), reconciler, signals
        )


async def test_the_master_knows_at_once(bench: Bench) -> None:
    """What runs already is where a service that is scaled by load begins (midnight, after ten)."""
    assert bench.reconciler.desired == {"posts": 3, "comments": 2}


async def test_by_hand_at_once(bench: Bench) -> None:
    """And back; the answer says how many there will be."""
    assert bench.loop.set_manual({"posts": 7}) == {"posts": 7}
    assert bench.reconciler.desired["posts"] == 7
    assert bench.loop.set_manual({"posts": None}) == {"posts": 3}


async def test_the_load_counts_at_each_turn(bench: Bench) -> None:
    """As soon as it is known."""
    bench.signals.now = ServiceLoad(in_flight=33)
    await bench.turn()
    assert bench.reconciler.desired["comments"] == 4


async def test_a_changed_file_is_taken_up(bench: Bench, tmp_path: Path) -> None:
    """At the second look, without anybody saying so."""
    (tmp_path / "blog.toml").write_text("[services.posts]\nreplicas = 5\n")
    await bench.turn()
    await bench.turn()
    assert bench.reconciler.desired["posts"] == 5


async def test_what_comes_is_listed(bench: Bench) -> None:
    """As rows for scripts."""
    bench.loop.set_manual({"posts": 7})
    [row] = bench.loop.upcoming(1)
    assert row == {
        "time": "2026-01-01T10:00:00+00:00",
        "service": "posts",
        "replicas": 3,
        "at": "0 10 * * *",
        "timezone": "UTC",
        "held": 7,
    }
