"""The scaler joins hand, clock and load, and remembers what was said by hand."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.errors import SettingsError
from blog.master.scaling.autoscale import STABLE, AutoscaleTarget, ServiceLoad
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.schedule import ScheduleEntry
from blog.master.scaling.wanted import ScalingPolicy
from tests.fakes import FakeClock

POLICIES = {
    "bus": ScalingPolicy(),
    "posts": ScalingPolicy(
        replicas=2, schedule=(ScheduleEntry("0 10 * * *", 5), ScheduleEntry("0 1 * * *", 1))
    ),
    "comments": ScalingPolicy(autoscale=AutoscaleTarget(1, 6, in_flight=10)),
}


class Bench:
    """A scaler, a clock and a load that tests turn."""

    def __init__(self, scaler: Scaler, hours: float = 9) -> None:
        self.scaler = scaler
        self.clock = FakeClock(hours * 3600)
        self.load = ServiceLoad()

    def decide(self, after: float = 0.0) -> dict[str, int]:
        """Decide once more, `after` seconds later."""
        self.clock.advance(after)
        return self.scaler.decide(lambda _: self.load, self.clock.now(), self.clock.monotonic())


def test_the_clock_decides_when_its_time_has_come() -> None:
    """And it is logged: from, to, why."""
    bench = Bench(Scaler(POLICIES), hours=9.99)
    assert bench.decide() == {"bus": 1, "posts": 1, "comments": 1}
    with capture_logs() as logs:
        assert bench.decide(after=60)["posts"] == 5
        bench.decide(after=60)
    [line] = logs
    assert (line["event"], line["service"]) == ("scale.decided", "posts")
    assert (line["from"], line["to"], line["why"]) == (1, 5, "schedule 0 10 * * *")


def test_by_hand_holds_until_auto() -> None:
    """Through changes of the schedule and whatever the load is."""
    bench = Bench(Scaler(POLICIES), hours=9)
    bench.scaler.say({"posts": 3, "comments": 2})
    bench.load = ServiceLoad(in_flight=100)
    assert bench.decide(after=7200) == {"bus": 1, "posts": 3, "comments": 2}
    bench.scaler.say({"posts": None, "comments": None})
    assert bench.decide() == {"bus": 1, "posts": 5, "comments": 6}


def test_after_auto_nobody_is_stopped_before_a_minute_of_less_load() -> None:
    """What was said by hand is where the load begins; the words do not claim that it still holds."""
    bench = Bench(Scaler(POLICIES))
    bench.scaler.say({"comments": 5})
    bench.load = ServiceLoad(in_flight=1)
    bench.decide()
    bench.scaler.say({"comments": None})
    assert bench.decide()["comments"] == 5
    assert bench.scaler.wanted["comments"].why != "by hand"
    assert bench.decide(after=STABLE - 1)["comments"] == 5
    assert bench.decide(after=1)["comments"] == 1


def test_what_runs_already_is_where_the_load_begins() -> None:
    """A master that was killed under load does not stop four of five when it is back."""
    scaler = Scaler(POLICIES)
    scaler.adopt({"comments": 5, "posts": 4, "strangers": 1})
    bench = Bench(scaler, hours=11)
    assert bench.decide() == {"bus": 1, "posts": 5, "comments": 5}


def test_another_file_is_followed() -> None:
    """Its replicas at once; what was said by hand stays."""
    bench = Bench(Scaler({"posts": ScalingPolicy(replicas=2), "comments": ScalingPolicy(replicas=2)}))
    bench.scaler.say({"comments": 4})
    bench.scaler.follow({"posts": ScalingPolicy(replicas=3), "comments": ScalingPolicy(replicas=1)})
    assert bench.decide() == {"posts": 3, "comments": 4}


def test_what_cannot_be_is_refused_and_nothing_of_it_is_taken() -> None:
    """All or nothing."""
    scaler = Scaler(POLICIES)
    with pytest.raises(SettingsError):
        scaler.say({"comments": 3, "bus": 2})
    assert scaler.by_hand == {}


def test_a_master_that_was_killed_knows_what_was_said(tmp_path: Path) -> None:
    """One that ended in order leaves nothing behind."""
    memory = tmp_path / "scale.json"
    Scaler(POLICIES, memory).say({"comments": 3, "posts": 2})
    Scaler(POLICIES, memory).recall()
    again = Scaler({"comments": ScalingPolicy()}, memory)
    again.recall()
    assert again.by_hand == {"comments": 3}
    again.forget()
    new = Scaler(POLICIES, memory)
    new.recall()
    assert new.by_hand == {}


@pytest.mark.parametrize("text", ["", "[]", '{"comments": "x"}', '{"comments": -1}', '{"comments": 3'])
def test_a_memory_that_is_damaged_is_left_alone(tmp_path: Path, text: str) -> None:
    """As if nothing had been said."""
    (tmp_path / "scale.json").write_text(text)
    scaler = Scaler(POLICIES, tmp_path / "scale.json")
    scaler.recall()
    assert scaler.by_hand == {}


def test_what_comes_next() -> None:
    """In order of time, with what keeps it from being done."""
    scaler = Scaler(POLICIES)
    scaler.say({"posts": 7})
    coming = scaler.coming(datetime(2026, 1, 1, 9, tzinfo=UTC), 2)
    assert [(one.service, one.change.time.hour, one.change.entry.replicas) for one in coming] == [
        ("posts", 10, 5),
        ("posts", 1, 1),
    ]
    assert {one.held for one in coming} == {7}
