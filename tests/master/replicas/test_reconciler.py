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
async def master(runtime: FakeRuntime) -> AsyncIterator[Reconciler]:
    """Run a master that wants nothing yet."""
    async with Reconciler.open(runtime, {}, CLOCK) as master:
        yield master


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so; meanwhile the clock goes on."""
    async with asyncio.timeout(10):
        while not condition():
            CLOCK.advance(0.02)
            await asyncio.sleep(0.005)


async def test_it_starts_and_stops_what_is_wanted(master: Reconciler, runtime: FakeRuntime) -> None:
    """Those that are too many are asked to end, the newest first."""
    master.scale({"comments": 3, "posts": 1})
    await until(lambda: len(runtime.copies) == 4)
    master.scale({"comments": 1})
    await until(lambda: len(runtime.living("comments")) == 1)
    assert runtime.living("comments") == ["comments-1"]
    assert runtime.living("posts") == ["posts-1"]


async def test_the_same_again_is_nothing_new(master: Reconciler, runtime: FakeRuntime) -> None:
    """It is told every second."""
    for _ in range(3):
        master.scale({"comments": 2})
        await until(lambda: len(runtime.living("comments")) == 2)
    assert len(runtime.copies) == 2


async def test_what_crashes_comes_back(master: Reconciler, runtime: FakeRuntime) -> None:
    """Under its name, and it is counted."""
    master.scale({"comments": 1})
    await until(lambda: len(runtime.copies) == 1)
    runtime.copies[0].crash()
    await until(lambda: len(runtime.copies) == 2)
    assert runtime.copies[1].name == "comments-1"
    assert master.copies[0].restarts == 1
    assert master.copies[0].last_words == ["comments-1: one", "comments-1: two"]


async def test_what_cannot_run_says_why_once(master: Reconciler, runtime: FakeRuntime) -> None:
    """It is tried again, later and later; another reason, or none, is said anew."""
    runtime.refusing.add("comments")
    ends: list[int] = []
    stop = master.on_end(lambda: ends.append(1))
    with capture_logs() as logs:
        master.scale({"comments": 1})
        await until(lambda: len(ends) == 4)
    assert [line["event"] for line in logs] == ["copy.cannot_run"]
    assert logs[0]["why"] == "comments-1: two"
    [copy] = master.given_up("comments")
    assert copy.refusal == "comments-1: two"
    assert master.given_up("posts") == []
    runtime.refusing.clear()
    await until(lambda: runtime.living("comments") == ["comments-1"])
    runtime.copies[-1].crash(1)
    await until(lambda: copy.refusal == "")
    stop()


async def test_a_crash_is_no_refusal(master: Reconciler, runtime: FakeRuntime) -> None:
    """Only a loop of them is given up."""
    runtime.crashing.add("comments")
    master.scale({"comments": 1})
    await until(lambda: bool(master.copies) and master.copies[0].restarts == 1)
    assert master.given_up("comments") == []
    await until(lambda: master.copies[0].is_crash_loop)
    assert master.given_up("comments") == master.copies


async def test_what_waits_after_a_crash_is_just_forgotten(
    master: Reconciler, runtime: FakeRuntime
) -> None:
    """There is nobody to drain."""
    runtime.crashing.add("comments")
    master.scale({"comments": 1})
    await until(lambda: bool(master.copies) and master.copies[0].restarts == 1)
    master.scale({"comments": 0})
    await until(lambda: master.copies == [])
    assert master.running == {}


async def test_more_for_a_while(master: Reconciler, runtime: FakeRuntime) -> None:
    """A surge is beyond what is desired, and ends."""
    master.scale({"comments": 1})
    master.surge["comments"] = 1
    master.look()
    await until(lambda: len(runtime.living("comments")) == 2)
    master.surge["comments"] = 0
    master.look()
    await until(lambda: runtime.living("comments") == ["comments-1"])


async def test_whose_instance_it_is(master: Reconciler, runtime: FakeRuntime) -> None:
    """By the process it runs in, of the same service."""
    master.scale({"comments": 2})
    await until(lambda: len(master.running) == 2)
    pid = runtime.copies[1].pid
    found = master.copy_of(an_instance("comments", pid))
    assert found is not None
    assert found.name == "comments-2"
    assert master.copy_of(an_instance("posts", pid)) is None
    assert master.copy_of(an_instance("comments", 1)) is None


async def test_what_cannot_be(master: Reconciler) -> None:
    """Unknown services and a second bus are refused, and nothing changes."""
    for wanted in ({"coments": 1}, {"bus": 2}):
        with pytest.raises(SettingsError):
            master.scale(wanted)
    assert master.desired == {}


async def test_the_end_drains_everybody(runtime: FakeRuntime) -> None:
    """Each is asked to end; the gateway last."""
    async with Reconciler.open(runtime, {"gateway": 1, "bus": 1, "posts": 2}, CLOCK):
        await until(lambda: len(runtime.copies) == 4)
    assert all(copy.is_asked_to_end for copy in runtime.copies)
