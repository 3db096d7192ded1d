"""Back-off: how long to wait before something that failed is tried again. Pure: no clock, no waiting.

The cap is checked before the power is taken, so that no number of failures is too large for a float.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Draw = Callable[[], float]
"""Returns a number in [0, 1), another one each time: `random.random`."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off: `first` seconds after the first failure, times `growth` up to `cap` seconds.

    Raises ValueError unless 0 < first <= cap and growth >= 1, all of them finite.
    """

    first: float
    cap: float
    growth: float = 2.0

    def __post_init__(self) -> None:
        is_ordered = 0 < self.first <= self.cap and self.growth >= 1  # False for NaN as well
        if not is_ordered or not all(map(math.isfinite, (self.cap / self.first, self.cap, self.growth))):
            raise ValueError(f"{self} needs 0 < first <= cap and growth >= 1")

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after `failures` in a row; 0 without any.

        Raises ValueError for a negative number.
        """
        if failures < 0:
            raise ValueError(f"failures={failures}: the number cannot be negative")
        if failures == 0:
            return 0.0
        if self.growth == 1:
            return self.first
        steps = failures - 1
        # logarithms are compared, because the power itself could be larger than any float
        if steps > math.log(self.cap / self.first) / math.log(self.growth):
            return self.cap
        return min(self.cap, self.first * self.growth**steps)

    def full_jitter(self, failures: int, draw: Draw = random.random) -> float:
        """Draw between 0 and `delay`: clients that failed together do not retry together."""
        return spread(0.0, self.delay(failures), draw)

    def equal_jitter(self, failures: int, draw: Draw = random.random) -> float:
        """Draw between half of `delay` and all of it: there is always some pause.

        Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
        """
        full = self.delay(failures)
        return spread(full / 2, full, draw)


@dataclass(slots=True)
class Failures:
    """Counts failures in a row, for `Backoff`. A run of at least `held_after` seconds ends the row.

    A session that is accepted and breaks at once is one more failure; one that held before it broke is
    the first failure of a new row. Raises ValueError unless `held_after` > 0.
    """

    held_after: float
    count: int = 0
    _began: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.held_after > 0:
            raise ValueError(f"held_after={self.held_after}: it must be more than 0 seconds")

    def started(self, now: float) -> None:
        """Note that a run begins `now`: a session was accepted, for example."""
        self._began = now

    def ended(self, now: float) -> int:
        """Count a failure; return how many there are in a row. A run that never started has not held."""
        lived = 0.0 if self._began is None else now - self._began
        return self.add(lived)

    def add(self, lived: float = 0.0) -> int:
        """Count the failure of a run of `lived` seconds; return how many there are in a row."""
        self._began = None
        self.count = 1 if lived >= self.held_after else self.count + 1
        return self.count


def spread(least: float, most: float, draw: Draw = random.random) -> float:
    """Draw seconds evenly between two bounds. Raises ValueError unless 0 <= least <= most."""
    if not 0 <= least <= most:
        raise ValueError(f"{least} and {most} are not valid bounds: 0 <= least <= most")
    return least + (most - least) * draw()
