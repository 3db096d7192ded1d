"""By hand before the clock before the load."""

from datetime import UTC, datetime

import pytest

from blog.master.scaling.autoscale import AutoscaleTarget, LoadDemand
from blog.master.scaling.desired import DesiredReplicas, desired_replicas, initial
from blog.master.scaling.schedule import ScheduledChange, ScheduleEntry
from blog.master.scaling.spec import ScalingSpec

FIXED = ScalingSpec(replicas=2)
SCALED = ScalingSpec(autoscale=AutoscaleTarget(min=2, max=6, in_flight=20))
FIVE = ScheduledChange(datetime(2026, 1, 1, tzinfo=UTC), ScheduleEntry("0 10 * * *", 5))
NOW = DesiredReplicas(3, "load: before")
LOAD = LoadDemand(4, "load: 80")


@pytest.mark.parametrize(
    ("spec", "manual", "scheduled", "load", "expected"),
    [
        (ScalingSpec(), None, None, None, DesiredReplicas(1, "default")),
        (FIXED, None, None, None, DesiredReplicas(2, "blog.toml")),
        (FIXED, None, FIVE, None, DesiredReplicas(5, "schedule 0 10 * * *")),
        (FIXED, 1, FIVE, None, DesiredReplicas(1, "by hand")),
        (FIXED, 0, FIVE, None, DesiredReplicas(0, "by hand")),
        (SCALED, None, None, None, NOW),
        (SCALED, None, None, LOAD, DesiredReplicas(4, "load: 80")),
        (SCALED, None, FIVE, None, DesiredReplicas(5, "schedule 0 10 * * *, at least")),
        (SCALED, None, FIVE, LOAD, DesiredReplicas(5, "schedule 0 10 * * *, at least")),
        (SCALED, None, FIVE, LoadDemand(6, "load: 120"), DesiredReplicas(6, "load: 120")),
        (SCALED, None, None, LoadDemand(1, "load: 5"), DesiredReplicas(2, "autoscale: min")),
        (SCALED, None, None, LoadDemand(9, "load: 180"), DesiredReplicas(6, "autoscale: max")),
        (SCALED, 9, FIVE, LOAD, DesiredReplicas(9, "by hand")),
    ],
)
def test_precedence(
    spec: ScalingSpec,
    manual: int | None,
    scheduled: ScheduledChange | None,
    load: LoadDemand | None,
    expected: DesiredReplicas,
) -> None:
    """With a schedule and autoscaling, the schedule is what the load cannot go below."""
    found = desired_replicas(spec, manual=manual, scheduled=scheduled, load=load, current=NOW)
    assert found == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ScalingSpec(), 1),
        (FIXED, 2),
        (SCALED, 2),
        (ScalingSpec(replicas=3, autoscale=SCALED.autoscale), 3),
    ],
)
def test_what_a_service_begins_with(spec: ScalingSpec, expected: int) -> None:
    """`replicas`, or the least that it may be scaled to, or one."""
    assert initial(spec).replicas == expected
