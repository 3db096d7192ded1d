"""Autoscaling: how many replicas the load needs. Pure: target tracking, with time and load as arguments.

Up at once, down to the most that was needed in the last 60 s, no change within 10 % of the target, never
beyond `min` and `max`. Without a signal no replica is stopped.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

TOLERANCE = 0.1
"""How much of the target the load may differ from it before anything changes."""
STABILIZATION_WINDOW = 60.0
"""Seconds of less load before replicas are stopped (Kubernetes: the stabilization window)."""


@dataclass(frozen=True, slots=True)
class AutoscaleTarget:
    """Between `min` and `max` replicas, so that none has more load than this."""

    min: int
    max: int
    in_flight: float | None = None
    """Requests in flight, per replica."""
    lag: float | None = None
    """Events that wait for the service's reactions, per replica."""


class ServiceLoad(NamedTuple):
    """The load of all ready replicas of a service together; None: not known."""

    in_flight: float | None = None
    lag: float | None = None


class LoadDemand(NamedTuple):
    """How many replicas the load needs, and why."""

    replicas: int
    why: str


_NO_DEMAND = LoadDemand(0, "")


def demands(target: AutoscaleTarget, load: ServiceLoad, current: int) -> tuple[list[LoadDemand], bool]:
    """Return what each known signal of a service with `current` replicas demands, and if all are known.

    The total load is divided, so that replicas that are not ready yet count as if they had their share.
    """
    signals = (
        ("in flight", target.in_flight, load.in_flight),
        ("events of lag", target.lag, load.lag),
    )
    targets = [(name, each, total) for name, each, total in signals if each is not None]
    needs = [
        LoadDemand(_replicas_for(total, each, current), f"load: {total:g} {name}, {each:g} per replica")
        for name, each, total in targets
        if total is not None
    ]
    return needs, len(needs) == len(targets)


def _replicas_for(total: float, each: float, current: int) -> int:
    """Divide; a load within the tolerance of `current` replicas needs just those."""
    if abs(total - each * current) <= TOLERANCE * each * current:
        return current
    return math.ceil(total / each)


def _within(target: AutoscaleTarget, proposed: LoadDemand) -> LoadDemand:
    """Return `proposed` within `min` and `max`; the reason says when `max` limits it."""
    if proposed.replicas > target.max:
        return LoadDemand(target.max, f"{proposed.why}; max is {target.max}")
    return proposed._replace(replicas=max(proposed.replicas, target.min))


@dataclass(slots=True)
class Autoscaler:
    """Proposes changes for one service. It remembers since when fewer replicas would be enough."""

    _since: float | None = None
    _most: LoadDemand = _NO_DEMAND

    def propose(
        self, target: AutoscaleTarget, load: ServiceLoad, current: int, now: float
    ) -> LoadDemand | None:
        """Return the replicas that are needed, and why; None for no change.

        `current` is the desired number, ready or not.
        """
        needs, all_known = demands(target, load, current)
        most = max(needs, default=None)
        if most is None or (most.replicas < current and not all_known):
            self._since = None
            return None
        most = _within(target, most)
        if most.replicas >= current:
            self._since = None
            return most if most.replicas > current else None
        return self._when_stable(most, now)

    def _when_stable(self, less: LoadDemand, now: float) -> LoadDemand | None:
        """Return the most that was needed since fewer replicas are enough, once the window is over."""
        if self._since is None:
            self._since, self._most = now, less
        self._most = max(self._most, less)
        if now - self._since < STABILIZATION_WINDOW:
            return None
        self._since = None
        return self._most._replace(why=f"{self._most.why}, for {STABILIZATION_WINDOW:g} s")
