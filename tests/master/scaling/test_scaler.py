"""The scaler joins hand, clock and load, and remembers what was said by hand."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.errors import SettingsError
from blog.master.scaling.autoscale import STABILIZATION_WINDOW, AutoscaleTarget, ServiceLoad
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.schedule import ScheduleEntry
from blog.master.scaling.spec import ScalingSpec
from tests.fakes import FakeClock

SPECS = {
    "bus": ScalingSpec(),
    "posts": ScalingSpec(
        replicas=2, schedule=(ScheduleEntry("0 10 * * *", 5), ScheduleEntry("0 1 * * *", 1))
    ),
    "comments": ScalingSpec(autoscale=AutoscaleTarget(1, 6, in_flight=10)),
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
    bench = Bench(Scaler(SPECS), hours=9.99)
    assert bench.decide() == {"bus": 1, "posts": 1, "comments": 1}
    with capture_logs() as logs:
        assert bench.decide(after=60)["posts"] == 5
        bench.decide(after=60)
    [line] = logs
    assert (line["event"], line["service"]) == ("scale.decided", "posts")
    assert (line["from"], line["to"], line["reason"]) == (1, 5, "schedule 0 10 * * *")


def test_by_hand_holds_until_auto() -> None:
    """Through changes of the schedule and whatever the load is."""
    bench = Bench(Scaler(SPECS), hours=9)
    bench.scaler.set_manual({"posts": 3, "comments": 2})
    bench.load = ServiceLoad(in_flight=100)
    assert bench.decide(after=7200) == {"bus": 1, "posts": 3, "comments": 2}
    bench.scaler.set_manual({"posts": None, "comments": None})
    assert bench.decide() == {"bus": 1, "posts": 5, "comments": 6}


def test_after_auto_nobody_is_stopped_before_a_minute_of_less_load() -> None:
    """What was said by hand is where the load begins; the words do not claim that it still holds."""
    bench = Bench(Scaler(SPECS))
    bench.scaler.set_manual({"comments": 5})
    bench.load = ServiceLoad(in_flight=1)
    bench.decide()
    bench.scaler.set_manual({"comments": None})
    assert bench.decide()["comments"] == 5
    assert bench.scaler.desired["comments"].why != "by hand"
    assert bench.decide(after=STABILIZATION_WINDOW - 1)["comments"] == 5
    assert bench.decide(after=1)["comments"] == 1


def test_what_runs_already_is_where_the_load_begins() -> None:
    """A master that was killed under load does not stop four of five when it is back."""
    scaler = Scaler(SPECS)
    scaler.adopt({"comments": 5, "posts": 4, "strangers": 1})
    bench = Bench(scaler, hours=11)
    assert bench.decide() == {"bus": 1, "posts": 5, "comments": 5}


def test_another_file_is_followed() -> None:
    """Its replicas at once; what was said by hand stays."""
    bench = Bench(Scaler({"posts": ScalingSpec(replicas=2), "comments": ScalingSpec(replicas=2)}))
    bench.scaler.set_manual({"comments": 4})
    bench.scaler.update({"posts": ScalingSpec(replicas=3), "comments": ScalingSpec(replicas=1)})
    assert bench.decide() == {"posts": 3, "comments": 4}


def test_what_cannot_be_is_refused_and_nothing_of_it_is_taken() -> None:
    """All or nothing."""
    scaler = Scaler(SPECS)
    with pytest.raises(SettingsError):
        scaler.set_manual({"comments": 3, "bus": 2})
    assert scaler.manual == {}


def test_a_master_that_was_killed_knows_what_was_said(tmp_path: Path) -> None:
    """One that ended in order leaves nothing behind."""
    state_file = tmp_path / "scale.json"
    Scaler(SPECS, state_file).set_manual({"comments": 3, "posts": 2})
    Scaler(SPECS, state_file).restore()
    again = Scaler({"comments": ScalingSpec()}, state_file)
    again.restore()
    assert again.manual == {"comments": 3}
    again.discard()
    new = Scaler(SPECS, state_file)
    new.restore()
    assert new.manual == {}


@pytest.mark.parametrize("text", ["", "[]", '{"comments": "x"}', '{"comments": -1}', '{"comments": 3'])
def test_a_memory_that_is_damaged_is_left_alone(tmp_path: Path, text: str) -> None:
    """As if nothing had been said."""
    (tmp_path / "scale.json").write_text(text)
    scaler = Scaler(SPECS, tmp_path / "scale.json")
    scaler.restore()
    assert scaler.manual == {}


def test_what_comes_next() -> None:
    """In order of time, with what keeps it from being done."""
    scaler = Scaler(SPECS)
    scaler.set_manual({"posts": 7})
    upcoming = scaler.upcoming(datetime(2026, 1, 1, 9, tzinfo=UTC), 2)
    assert [(one.service, one.change.time.hour, one.change.entry.replicas) for one in upcoming] == [
        ("posts", 10, 5),
        ("posts", 1, 1),
    ]
    assert {one.held for one in upcoming} == {7}
