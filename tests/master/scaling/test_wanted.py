"""By hand before the clock before the load."""

from datetime import UTC, datetime

import pytest

from blog.master.scaling.autoscale import Need, Target
from blog.master.scaling.schedule import Change, Entry
from blog.master.scaling.wanted import Policy, Wanted, first, wanted

FIXED = Policy(replicas=2)
SCALED = Policy(autoscale=Target(min=2, max=6, in_flight=20))
FIVE = Change(datetime(2026, 1, 1, tzinfo=UTC), Entry("0 10 * * *", 5))
NOW = Wanted(3, "load: before")
LOAD = Need(4, "load: 80")


@pytest.mark.parametrize(
    ("policy", "by_hand", "scheduled", "load", "expected"),
    [
        (Policy(), None, None, None, Wanted(1, "default")),
        (FIXED, None, None, None, Wanted(2, "blog.toml")),
        (FIXED, None, FIVE, None, Wanted(5, "schedule 0 10 * * *")),
        (FIXED, 1, FIVE, None, Wanted(1, "by hand")),
        (FIXED, 0, FIVE, None, Wanted(0, "by hand")),
        (SCALED, None, None, None, NOW),
        (SCALED, None, None, LOAD, Wanted(4, "load: 80")),
        (SCALED, None, FIVE, None, Wanted(5, "schedule 0 10 * * *, at least")),
        (SCALED, None, FIVE, LOAD, Wanted(5, "schedule 0 10 * * *, at least")),
        (SCALED, None, FIVE, Need(6, "load: 120"), Wanted(6, "load: 120")),
        (SCALED, None, None, Need(1, "load: 5"), Wanted(2, "autoscale: min")),
        (SCALED, None, None, Need(9, "load: 180"), Wanted(6, "autoscale: max")),
        (SCALED, 9, FIVE, LOAD, Wanted(9, "by hand")),
    ],
)
def test_precedence(
    policy: Policy, by_hand: int | None, scheduled: Change | None, load: Need | None, expected: Wanted
) -> None:
    """With a schedule and autoscaling, the schedule is what the load cannot go below."""
    found = wanted(policy, by_hand=by_hand, scheduled=scheduled, load=load, current=NOW)
    assert found == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), 1),
        (FIXED, 2),
        (SCALED, 2),
        (Policy(replicas=3, autoscale=SCALED.autoscale), 3),
    ],
)
def test_what_a_service_begins_with(policy: Policy, expected: int) -> None:
    """`replicas`, or the least that it may be scaled to, or one."""
    assert first(policy).copies == expected
