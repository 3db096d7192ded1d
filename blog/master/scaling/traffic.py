"""Traffic: requests per second and how long they take, from what the gateway has counted. Pure."""

from collections import deque
from typing import NamedTuple

from blog.core.histogram import Histogram
from blog.gateway.telemetry.stats import BOUNDS, StatsOfService, StatsSnapshot

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
        requests = _histogram(after, service) - _histogram(before, service)
        if not requests.count or ended <= began:
            return RequestRate()
        return RequestRate(requests.count / (ended - began), requests.quantile(_P99))

    def in_flight(self, service: str) -> int | None:
        """Return the requests to `service` under way at the last snapshot, streams not counted."""
        if not self._kept:
            return None
        counted = self._kept[-1][1].services.get(service)
        return counted.in_flight - counted.streams if counted else 0

    def forget(self) -> None:
        """Nothing is known any more."""
        self._kept.clear()


def _histogram(snapshot: StatsSnapshot, service: str) -> Histogram:
    """Return how long the requests to `service` took; the gateway sends seconds and buckets."""
    stats: StatsOfService | None = snapshot.services.get(service)
    return Histogram(BOUNDS, stats.buckets, stats.seconds) if stats else Histogram(BOUNDS)


def _total(snapshot: StatsSnapshot) -> int:
    return sum(sum(counted.buckets) for counted in snapshot.services.values())
