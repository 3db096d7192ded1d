"""The master keeps what is desired running, whatever ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from blog.core.errors import SettingsError
from blog.master.replicas.reconciler import Reconciler
from tests.fakes import FakeClock
from tests.master.fake_runtime import FakeRuntime, an_instance

CLOCK = FakeClock()


@pytest.fixture
def runtime() -> FakeRuntime:
    """Give a runtime without processes."""
    return FakeRuntime()


@pytest.fixture
async def reconciler(runtime: FakeRuntime) -> AsyncIterator[Reconciler]:
    """Run a master that wants nothing yet."""
    async with Reconciler.open(runtime, {}, CLOCK) as reconciler:
        yield reconciler


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so; meanwhile the clock goes on."""
    async with asyncio.timeout(10):
        while not condition():
            CLOCK.advance(0.02)
            await asyncio.sleep(0.005)


async def test_it_starts_and_stops_what_is_wanted(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """Those that are too many are asked to end, the newest first."""
    reconciler.scale({"comments": 3, "posts": 1})
    await until(lambda: len(runtime.replicas) == 4)
    reconciler.scale({"comments": 1})
    await until(lambda: len(runtime.living("comments")) == 1)
    assert runtime.living("comments") == ["comments-1"]
    assert runtime.living("posts") == ["posts-1"]


async def test_the_same_again_is_nothing_new(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """It is told every second."""
    for _ in range(3):
        reconciler.scale({"comments": 2})
        await until(lambda: len(runtime.living("comments")) == 2)
    assert len(runtime.replicas) == 2


async def test_what_crashes_comes_back(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """Under its name, and it is counted."""
    reconciler.scale({"comments": 1})
    await until(lambda: len(runtime.replicas) == 1)
    runtime.replicas[0].crash()
    await until(lambda: len(runtime.replicas) == 2)
    assert runtime.replicas[1].name == "comments-1"
    assert reconciler.replicas[0].restarts == 1
    assert reconciler.replicas[0].last_lines == ["comments-1: one", "comments-1: two"]


async def test_what_cannot_run_says_why_once(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """It is tried again, later and later; another reason, or none, is said anew."""
    runtime.refusing.add("comments")
    ends: list[int] = []
    stop = reconciler.on_exit(lambda: ends.append(1))
    with capture_logs() as logs:
        reconciler.scale({"comments": 1})
        await until(lambda: len(ends) == 4)
    assert [line["event"] for line in logs] == ["replica.cannot_run"]
    assert logs[0]["reason"] == "comments-1: two"
    [replica] = reconciler.failing("comments")
    assert replica.config_error == "comments-1: two"
    assert reconciler.failing("posts") == []
    runtime.refusing.clear()
    await until(lambda: runtime.living("comments") == ["comments-1"])
    runtime.replicas[-1].crash(1)
    await until(lambda: replica.config_error == "")
    stop()


async def test_a_crash_is_no_refusal(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """Only a loop of them is given up."""
    runtime.crashing.add("comments")
    reconciler.scale({"comments": 1})
    await until(lambda: bool(reconciler.replicas) and reconciler.replicas[0].restarts == 1)
    assert reconciler.failing("comments") == []
    await until(lambda: reconciler.replicas[0].is_crash_loop)
    assert reconciler.failing("comments") == reconciler.replicas


async def test_what_waits_after_a_crash_is_just_forgotten(
    reconciler: Reconciler, runtime: FakeRuntime
) -> None:
    """There is nobody to drain."""
    runtime.crashing.add("comments")
    reconciler.scale({"comments": 1})
    await until(lambda: bool(reconciler.replicas) and reconciler.replicas[0].restarts == 1)
    reconciler.scale({"comments": 0})
    await until(lambda: reconciler.replicas == [])
    assert reconciler.running == {}


async def test_more_for_a_while(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """A surge is beyond what is desired, and ends."""
    reconciler.scale({"comments": 1})
    reconciler.surge["comments"] = 1
    reconciler.wake()
    await until(lambda: len(runtime.living("comments")) == 2)
    reconciler.surge["comments"] = 0
    reconciler.wake()
    await until(lambda: runtime.living("comments") == ["comments-1"])


async def test_whose_instance_it_is(reconciler: Reconciler, runtime: FakeRuntime) -> None:
    """By the process it runs in, of the same service."""
    reconciler.scale({"comments": 2})
    await until(lambda: len(reconciler.running) == 2)
    pid = runtime.replicas[1].pid
    found = reconciler.replica_of(an_instance("comments", pid))
    assert found is not None
    assert found.name == "comments-2"
    assert reconciler.replica_of(an_instance("posts", pid)) is None
    assert reconciler.replica_of(an_instance("comments", 1)) is None


async def test_what_cannot_be(reconciler: Reconciler) -> None:
    """Unknown services and a second bus are refused, and nothing changes."""
    for wanted in ({"coments": 1}, {"bus": 2}):
        with pytest.raises(SettingsError):
            reconciler.scale(wanted)
    assert reconciler.desired == {}


async def test_the_end_drains_everybody(runtime: FakeRuntime) -> None:
    """Each is asked to end; the gateway last."""
    async with Reconciler.open(runtime, {"gateway": 1, "bus": 1, "posts": 2}, CLOCK):
        await until(lambda: len(runtime.replicas) == 4)
    assert all(replica.is_asked_to_end for replica in runtime.replicas)
