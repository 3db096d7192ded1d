"""How many copies, and why: by hand > by the clock > by load. Pure.

A word by hand (`blog scale`) holds until `NAME=auto`. The schedule says how many, or, where a service is
scaled by load too, how many at least. The load decides what is left.
"""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import NamedTuple

from blog.master.scaling.autoscale import Need, Target
from blog.master.scaling.schedule import Change, Entry

BY_HAND = "by hand"
BY_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is said of one service in advance. `replicas` None: nothing, that is one."""

    replicas: int | None = None
    schedule: tuple[Entry, ...] = ()
    autoscale: Target | None = None
    zone: tzinfo = UTC


class Wanted(NamedTuple):
    """How many, and why."""

    copies: int
    why: str


def wanted(
    policy: Policy, *, by_hand: int | None, scheduled: Change | None, load: Need | None, current: Wanted
) -> Wanted:
    """Decide. `load` is what the load needs other than `current` (None: nothing else)."""
    if by_hand is not None:
        return Wanted(by_hand, BY_HAND)
    if policy.autoscale is None:
        return _fixed(policy, scheduled)
    bounded = within(policy, scheduled, current)
    if load is None:
        return bounded
    return within(policy, scheduled, Wanted(load.copies, load.why))


def first(policy: Policy) -> Wanted:
    """Return what a service begins with, before anything is known of the load."""
    count = policy.replicas
    if count is None:
        count = policy.autoscale.min if policy.autoscale else 1
        return Wanted(count, "autoscale: min" if policy.autoscale else BY_DEFAULT)
    return Wanted(count, "blog.toml")


def within(policy: Policy, scheduled: Change | None, wish: Wanted) -> Wanted:
    """Return `wish`, or the bound that it is past: the schedule's, `min` or `max`."""
    target = policy.autoscale
    assert target is not None
    if scheduled is not None and wish.copies < scheduled.entry.replicas:
        return Wanted(scheduled.entry.replicas, f"schedule {scheduled.entry.at}, at least")
    if wish.copies < target.min:
        return Wanted(target.min, "autoscale: min")
    if wish.copies > target.max:
        return Wanted(target.max, "autoscale: max")
    return wish


def _fixed(policy: Policy, scheduled: Change | None) -> Wanted:
    """Return what there is without load: the schedule's word, else the file's, else one."""
    if scheduled is None:
        return first(policy)
    return Wanted(scheduled.entry.replicas, f"schedule {scheduled.entry.at}")
