"""Traffic: requests per second and how long they take, from what the gateway has counted. Pure."""

from collections import deque
from itertools import accumulate
from typing import NamedTuple

from blog.gateway.telemetry.stats import BOUNDS, ServiceStatsSnapshot, StatsSnapshot

WINDOW = 10.0
"""Seconds that a rate is about."""
_P99 = 0.99


class RequestRate(NamedTuple):
    """Requests per second, and the seconds within which 99 of 100 were answered (None: no requests)."""

    per_second: float = 0.0
    p99: float | None = None


class TrafficHistory:
    """The last snapshots, `WINDOW` seconds of them. A gateway that was restarted counts from nothing."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, StatsSnapshot]] = deque()

    def add(self, snapshot: StatsSnapshot, now: float) -> None:
        """Take a snapshot."""
        if self._kept and _total(snapshot) < _total(self._kept[-1][1]):
            self._kept.clear()
        self._kept.append((now, snapshot))
        while len(self._kept) > 2 and self._kept[1][0] <= now - WINDOW:  # noqa: PLR2004 - a first and a last
            self._kept.popleft()

    def rate(self, service: str) -> RequestRate:
        """Return what went to `service` between the first and the last snapshot."""
        if not self._kept:
            return RequestRate()
        (began, before), (ended, after) = self._kept[0], self._kept[-1]
        buckets = _buckets(after, service)
        buckets = [now - then for now, then in zip(buckets, _buckets(before, service), strict=True)]
        count = sum(buckets)
        if not count or ended <= began:
            return RequestRate()
        return RequestRate(count / (ended - began), quantile(buckets, _P99))

    def in_flight(self, service: str) -> int | None:
        """Return the requests to `service` under way at the last snapshot, streams not counted."""
        if not self._kept:
            return None
        counted = self._kept[-1][1].services.get(service)
        return counted.in_flight - counted.streams if counted else 0

    def forget(self) -> None:
        """Nothing is known any more."""
        self._kept.clear()


def quantile(buckets: list[int], share: float) -> float:
    """Estimate from a histogram over BOUNDS: evenly spread within a bucket, as Prometheus has it.

    What is over the last bound counts as that bound.
    """
    rank = share * sum(buckets)
    edges = (0.0, *BOUNDS, BOUNDS[-1])
    below = 0
    for place, (count, through) in enumerate(zip(buckets, accumulate(buckets), strict=True)):
        if through >= rank and count:
            low, high = edges[place], edges[place + 1]
            return low + (high - low) * (rank - below) / count
        below = through
    return 0.0


def _buckets(snapshot: StatsSnapshot, service: str) -> list[int]:
    counted: ServiceStatsSnapshot | None = snapshot.services.get(service)
    return counted.buckets if counted else [0] * (len(BOUNDS) + 1)


def _total(snapshot: StatsSnapshot) -> int:
    return sum(sum(counted.buckets) for counted in snapshot.services.values())
