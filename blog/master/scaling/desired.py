"""Desired replicas, and why: the manual number, then the schedule, then the load. Pure.

A manual number (`blog scale`) holds until `NAME=auto`. The schedule says how many, or, where a service is
scaled by load too, the least number. Within these bounds the load decides.
"""

from typing import NamedTuple

from blog.master.scaling.autoscale import LoadDemand
from blog.master.scaling.schedule import ScheduledChange
from blog.master.scaling.spec import ScalingSpec

MANUAL = "by hand"
BY_DEFAULT = "default"


class DesiredReplicas(NamedTuple):
    """The number of replicas that should run, and why."""

    replicas: int
    why: str


def desired_replicas(
    spec: ScalingSpec,
    *,
    manual: int | None,
    scheduled: ScheduledChange | None,
    load: LoadDemand | None,
    current: DesiredReplicas,
) -> DesiredReplicas:
    """Decide. `load` is the number that the load needs if it is not `current`, else None."""
    if manual is not None:
        return DesiredReplicas(manual, MANUAL)
    if spec.autoscale is None:
        return _without_load(spec, scheduled)
    current = bounded(spec, scheduled, current)
    if load is None:
        return current
    return bounded(spec, scheduled, DesiredReplicas(load.replicas, load.why))


def initial(spec: ScalingSpec) -> DesiredReplicas:
    """Return the number that a service starts with, before its load is known."""
    count = spec.replicas
    if count is None:
        count = spec.autoscale.min if spec.autoscale else 1
        return DesiredReplicas(count, "autoscale: min" if spec.autoscale else BY_DEFAULT)
    return DesiredReplicas(count, "blog.toml")


def bounded(
    spec: ScalingSpec, scheduled: ScheduledChange | None, proposed: DesiredReplicas
) -> DesiredReplicas:
    """Return `proposed`, or the bound that it exceeds: the schedule's, `min` or `max`."""
    target = spec.autoscale
    assert target is not None
    if scheduled is not None and proposed.replicas < scheduled.entry.replicas:
        return DesiredReplicas(scheduled.entry.replicas, f"schedule {scheduled.entry.at}, at least")
    if proposed.replicas < target.min:
        return DesiredReplicas(target.min, "autoscale: min")
    if proposed.replicas > target.max:
        return DesiredReplicas(target.max, "autoscale: max")
    return proposed


def _without_load(spec: ScalingSpec, scheduled: ScheduledChange | None) -> DesiredReplicas:
    """Return the schedule's number, else the file's, else one."""
    if scheduled is None:
        return initial(spec)
    return DesiredReplicas(scheduled.entry.replicas, f"schedule {scheduled.entry.at}")
