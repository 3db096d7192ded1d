"""How many copies, and why: by hand > by the clock > by load. Pure.

A word by hand (`blog scale`) holds until `NAME=auto`. The schedule says how many, or, where a service is
scaled by load too, how many at least. The load decides what is left.
"""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import NamedTuple

from blog.master.scaling.autoscale import AutoscaleTarget, LoadDemand
from blog.master.scaling.schedule import ScheduledChange, ScheduleEntry

BY_HAND = "by hand"
BY_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """What is said of one service in advance. `replicas` None: nothing, that is one."""

    replicas: int | None = None
    schedule: tuple[ScheduleEntry, ...] = ()
    autoscale: AutoscaleTarget | None = None
    zone: tzinfo = UTC


class DesiredReplicas(NamedTuple):
    """How many, and why."""

    copies: int
    why: str


def wanted(
    policy: ScalingPolicy,
    *,
    by_hand: int | None,
    scheduled: ScheduledChange | None,
    load: LoadDemand | None,
    current: DesiredReplicas,
) -> DesiredReplicas:
    """Decide. `load` is what the load needs other than `current` (None: nothing else)."""
    if by_hand is not None:
        return DesiredReplicas(by_hand, BY_HAND)
    if policy.autoscale is None:
        return _fixed(policy, scheduled)
    bounded = within(policy, scheduled, current)
    if load is None:
        return bounded
    return within(policy, scheduled, DesiredReplicas(load.copies, load.why))


def first(policy: ScalingPolicy) -> DesiredReplicas:
    """Return what a service begins with, before anything is known of the load."""
    count = policy.replicas
    if count is None:
        count = policy.autoscale.min if policy.autoscale else 1
        return DesiredReplicas(count, "autoscale: min" if policy.autoscale else BY_DEFAULT)
    return DesiredReplicas(count, "blog.toml")


def within(
    policy: ScalingPolicy, scheduled: ScheduledChange | None, wish: DesiredReplicas
) -> DesiredReplicas:
    """Return `wish`, or the bound that it is past: the schedule's, `min` or `max`."""
    target = policy.autoscale
    assert target is not None
    if scheduled is not None and wish.copies < scheduled.entry.replicas:
        return DesiredReplicas(scheduled.entry.replicas, f"schedule {scheduled.entry.at}, at least")
    if wish.copies < target.min:
        return DesiredReplicas(target.min, "autoscale: min")
    if wish.copies > target.max:
        return DesiredReplicas(target.max, "autoscale: max")
    return wish


def _fixed(policy: ScalingPolicy, scheduled: ScheduledChange | None) -> DesiredReplicas:
    """Return what there is without load: the schedule's word, else the file's, else one."""
    if scheduled is None:
        return first(policy)
    return DesiredReplicas(scheduled.entry.replicas, f"schedule {scheduled.entry.at}")
