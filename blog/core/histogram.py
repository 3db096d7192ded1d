"""Histogram: how many observations fell below each bound, and their sum. Plain numbers; no Prometheus.

Histograms of several processes can be added; two snapshots of one process can be subtracted.
"""

from bisect import bisect_left
from itertools import accumulate, pairwise
from typing import Self


class Histogram:
    """Counts of observations per bucket; `bounds` are the upper bounds, inclusive.

    `counts` is one longer than `bounds`: the last bucket is for values above all of them. `counts` and
    `sum` are what JSON carries between processes. Written by one thread. Raises ValueError for bounds
    that do not grow, and for counts that do not fit them.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(
        self, bounds: tuple[float, ...], counts: list[int] | None = None, total: float = 0.0
    ) -> None:
        if not bounds or not all(low < high for low, high in pairwise(bounds)):
            raise ValueError(f"{bounds} are not valid bounds: each must be larger than the one before")
        if counts is not None and len(counts) != len(bounds) + 1:
            raise ValueError(f"{len(counts)} counts do not fit {len(bounds)} bounds")
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1) if counts is None else counts
        self.sum = total

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many observations there are."""
        return sum(self.counts)

    def copy(self) -> Self:
        """Return a snapshot, which further observations do not change."""
        return type(self)(self.bounds, list(self.counts), self.sum)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus wants them: each includes the ones before it."""
        names = (*map(str, self.bounds), "+Inf")
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))

    def quantile(self, share: float) -> float:
        """Estimate the value below which `share` (0 to 1) of the observations are; 0 without any.

        Values are assumed to be evenly spread within a bucket, as in Prometheus' `histogram_quantile`; a
        value above the last bound counts as that bound. Raises ValueError for another share.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"{share} is not a share between 0 and 1")
        rank = share * self.count
        edges = (0.0, *self.bounds, self.bounds[-1])
        below = 0
        for place, (count, through) in enumerate(zip(self.counts, accumulate(self.counts), strict=True)):
            if count and through >= rank:
                low, high = edges[place], edges[place + 1]
                return low + (high - low) * (rank - below) / count
            below = through
        return 0.0

    def __add__(self, other: Self) -> Self:
        """Return the sum. Raises ValueError for different bounds."""
        counts = [mine + theirs for mine, theirs in self._beside(other)]
        return type(self)(self.bounds, counts, self.sum + other.sum)

    def __sub__(self, other: Self) -> Self:
        """Return what came since the snapshot `other`. Raises ValueError for different bounds."""
        counts = [mine - theirs for mine, theirs in self._beside(other)]
        return type(self)(self.bounds, counts, self.sum - other.sum)

    def _beside(self, other: Self) -> "zip[tuple[int, int]]":
        if self.bounds != other.bounds:
            raise ValueError(f"{self!r} and {other!r} do not have the same bounds")
        return zip(self.counts, other.counts, strict=True)

    def __repr__(self) -> str:
        """Show how many there were."""
        return f"<Histogram: {self.count} in {self.sum:.3f}>"
