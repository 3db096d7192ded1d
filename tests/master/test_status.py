"""Rows: what registry, gateway, bus and master know, beside each other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import pytest

from blog.core.instance import Instance, State
from blog.master.replicas.reconciler import Reconciler
from blog.master.scaling.autoscale import ServiceLoad
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.signals import LoadSignals
from blog.master.scaling.spec import ScalingSpec
from blog.master.scaling.traffic import RequestRate
from blog.master.status import StatusTable
from tests.fakes import FakeClock
from tests.master.fake_runtime import FakeRuntime, an_instance


class FakeSignals(LoadSignals):
    """What the sources say, without sources."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.passed_over: dict[str, list[str]] = {}
        self._clock = FakeClock()
        self._since = {}

    async def refresh(self) -> None:
        """There is nothing to read."""

    async def lags(self) -> dict[str, int]:
        """Everybody has a view that is seven events behind, but moderation."""
        return {one.id: 7 for one in self.instances if one.service != "moderation"}

    def load(self, service: str) -> ServiceLoad:
        """Say it."""
        return ServiceLoad(in_flight=2, lag=5)

    def waiting(self, service: str) -> int | None:
        """Say it."""
        return 5

    def rate(self, service: str) -> RequestRate:
        """Say it."""
        return RequestRate(12.34, 0.0123)


class Bench:
    """A table with its parts."""

    def __init__(self, runtime: FakeRuntime, reconciler: Reconciler, signals: FakeSignals) -> None:
        self.runtime = runtime
        self.signals = signals
        self.reconciler = reconciler
        self.clock = FakeClock(60)
        self.scaler = Scaler({"comments": ScalingSpec(replicas=1), "moderation": ScalingSpec()})
        self.scaler.decide(lambda _: ServiceLoad(), self.clock.now(), 0.0)
        self.table = StatusTable(reconciler, self.scaler, signals, self.clock)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Run one replica of each."""
    runtime, clock = FakeRuntime(), FakeClock()
    async with Reconciler.open(runtime, {"comments": 1, "moderation": 1}, clock) as reconciler:
        while len(reconciler.running) < 2:
            await asyncio.sleep(0)
        yield Bench(runtime, reconciler, FakeSignals())


async def test_an_instance_with_its_replica(bench: Bench) -> None:
    """Every field that scripts rely on, and the ones for people."""
    bench.signals.instances = [an_instance("comments", bench.runtime.replicas[0].pid, in_flight=3)]
    row = (await bench.table.rows())[0]
    row["id"] = row["id"].partition("-")[0]
    assert row == {
        "id": "comments",
        "service": "comments",
        "state": "ready",
        "address": "h:1",
        "version": "",
        "uptime_s": 60,
        "since_s": 60,
        "in_flight": 3,
        "behind": 7,
        "name": "comments-1",
        "restarts": 0,
        "pid": 1000,
        "wanted": 1,
        "why": "blog.toml",
        "requests_s": 12.3,
        "p99_ms": 12.3,
    }


async def test_without_a_view_it_is_what_waits_for_its_reactions(bench: Bench) -> None:
    """Moderation shows nothing and reacts."""
    bench.signals.instances = [an_instance("moderation", bench.runtime.replicas[1].pid)]
    [row] = [row for row in await bench.table.rows() if row["service"] == "moderation"]
    assert row["behind"] == 5


async def test_a_replica_that_nobody_has_heard_of_yet(bench: Bench) -> None:
    """It starts; one that crashes again and again is called that, with its last words."""
    assert {row["state"] for row in await bench.table.rows()} == {"starting"}
    bench.reconciler.replicas[0].failures.count = 3
    bench.reconciler.replicas[0].last_lines = ["one", "two"]
    row = (await bench.table.rows())[0]
    assert (row["state"], row["last_lines"]) == ("crash loop", ["one", "two"])


async def test_a_replica_that_cannot_run_says_why(bench: Bench) -> None:
    """From the first time on, in the rows of both tables."""
    bench.reconciler.replicas[0].config_error = "service.py:1: SyntaxError"
    row = (await bench.table.rows())[0]
    assert (row["state"], row["last_lines"]) == ("cannot run", ["service.py:1: SyntaxError"])
    [stuck] = (await bench.table.services())[0]["crash_loops"]
    assert (stuck["name"], stuck["state"]) == ("comments-1", "cannot run")


async def test_a_stranger_is_shown_too(bench: Bench) -> None:
    """Somebody started it by hand, elsewhere."""
    bench.signals.instances = [an_instance("query", 1)]
    [row] = [row for row in await bench.table.rows() if row["service"] == "query"]
    assert (row["name"], row["wanted"], row["why"]) == ("", None, "not run by this master")


async def test_services(bench: Bench) -> None:
    """How many are ready of how many, and who keeps it from being so."""
    bench.signals.instances = [
        an_instance("comments", bench.runtime.replicas[0].pid),
        an_instance("comments", 1, state=State.DRAINING),
    ]
    bench.reconciler.replicas[1].failures.count = 3
    comments, moderation = await bench.table.services()
    assert (comments["ready"], comments["wanted"], comments["copies"]) == (1, 1, 1)
    assert (comments["crash_loops"], comments["waiting"], comments["in_flight"]) == ([], 5, 2)
    assert [one["name"] for one in moderation["crash_loops"]] == ["moderation-1"]


async def test_who_is_well_again_is_in_no_crash_loop(bench: Bench) -> None:
    """Whatever it did before."""
    bench.reconciler.replicas[0].failures.count = 3
    bench.signals.instances = [an_instance("comments", bench.runtime.replicas[0].pid)]
    assert (await bench.table.services())[0]["crash_loops"] == []


@pytest.mark.parametrize(
    "metadata",
    [
        *({"pid": pid} for pid in ("n/a", "", "-1", "1e9", "²", "١٢", "9" * 12, "9" * 5000, " 1", "1_0")),
        {"pid": "1", "host": "elsewhere"},
        {"pid": "1", "host": "\x1b[2J"},
        {"public": "no address"},
        {},
    ],
)
async def test_whatever_an_instance_says_of_itself_the_list_is_whole(
    bench: Bench, metadata: dict[str, str]
) -> None:
    """Its process is not known then: another machine's would be another process here."""
    odd = an_instance("query", 1).model_copy(update={"metadata": metadata})
    mine = an_instance("comments", bench.runtime.replicas[0].pid)
    bench.signals.instances = [odd, mine]
    rows = {row["id"]: row for row in await bench.table.rows()}
    assert rows[odd.id]["pid"] == 0
    assert rows[mine.id]["pid"] == bench.runtime.replicas[0].pid


@pytest.mark.parametrize("year", [1, 1970, 9999])
async def test_it_may_have_started_at_any_time(bench: Bench, year: int) -> None:
    """In the future it has just started."""
    began = datetime(year, 1, 2, tzinfo=timezone(timedelta(hours=14)))
    odd = an_instance("query", 1).model_copy(update={"started_at": began})
    bench.signals.instances = [odd]
    [row] = [row for row in await bench.table.rows() if row["id"] == odd.id]
    assert row["uptime_s"] >= 0
    assert (row["uptime_s"] == 0) is (year == 9999)


async def test_rows_that_were_passed_over_are_listed(bench: Bench) -> None:
    """By the list that they are in."""
    bench.signals.passed_over = {"instances": ["odd: no"], "subscriptions": []}
    assert bench.table.passed_over() == ["instances: odd: no"]
