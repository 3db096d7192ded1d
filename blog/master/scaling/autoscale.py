"""Autoscaling: how many copies the load needs. Pure: target tracking, with time and load as arguments.

Up at once, down to what the last 60 s needed at most, nothing within 10 % of the target, never past `min`
and `max`. What is not known changes nothing: without a signal nobody is stopped.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

TOLERANCE = 0.1
"""How much of the target the load may differ from it before anything changes."""
STABLE = 60.0
"""Seconds of less load before there are fewer copies."""


@dataclass(frozen=True, slots=True)
class AutoscaleTarget:
    """Between `min` and `max` copies, so that each has no more than this to do."""

    min: int
    max: int
    in_flight: float | None = None
    """Requests at a time, of one copy."""
    lag: float | None = None
    """Events that wait for the service's reactions, for one copy."""


class ServiceLoad(NamedTuple):
    """What a service has to do, all its ready copies together; None: not known."""

    in_flight: float | None = None
    lag: float | None = None


class LoadDemand(NamedTuple):
    """How many copies the load needs, and why."""

    copies: int
    why: str


_NOTHING = LoadDemand(0, "")


def need(target: AutoscaleTarget, load: ServiceLoad, current: int) -> tuple[list[LoadDemand], bool]:
    """Say what each signal needs of a service with `current` copies, and whether each is known.

    Copies that are not ready yet have no load; it is the load of all that is divided, so that they count
    as the relief that they will be.
    """
    signals = (
        ("in flight", target.in_flight, load.in_flight),
        ("events behind", target.lag, load.lag),
    )
    wanted = [(name, each, total) for name, each, total in signals if each is not None]
    needs = [
        LoadDemand(_copies(total, each, current), f"load: {total:g} {name}, {each:g} each")
        for name, each, total in wanted
        if total is not None
    ]
    return needs, len(needs) == len(wanted)


def _copies(total: float, each: float, current: int) -> int:
    """Divide; what is within the tolerance of `current` copies needs just those."""
    if abs(total - each * current) <= TOLERANCE * each * current:
        return current
    return math.ceil(total / each)


def _within(target: AutoscaleTarget, wish: LoadDemand) -> LoadDemand:
    """Return what is wished as far as it may be; it says so where it is not all of it."""
    if wish.copies > target.max:
        return LoadDemand(target.max, f"{wish.why}; max is {target.max}")
    return wish._replace(copies=max(wish.copies, target.min))


@dataclass(slots=True)
class Autoscaler:
    """Judges one service again and again. It remembers since when less would do, and how much less."""

    _since: float | None = None
    _most: LoadDemand = _NOTHING

    def judge(
        self, target: AutoscaleTarget, load: ServiceLoad, current: int, now: float
    ) -> LoadDemand | None:
        """Return another number of copies than `current`, and why; None: leave it as it is.

        `current` counts those that should run, ready or not.
        """
        needs, all_known = need(target, load, current)
        most = max(needs, default=None)
        if most is None or (most.copies < current and not all_known):
            self._since = None
            return None
        most = _within(target, most)
        if most.copies >= current:
            self._since = None
            return most if most.copies > current else None
        return self._when_stable(most, now)

    def _when_stable(self, less: LoadDemand, now: float) -> LoadDemand | None:
        """Return the most that was needed since less than now would do, once that is long enough."""
        if self._since is None:
            self._since, self._most = now, less
        self._most = max(self._most, less)
        if now - self._since < STABLE:
            return None
        self._since = None
        return self._most._replace(why=f"{self._most.why}, for {STABLE:g} s")
