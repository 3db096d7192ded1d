"""Traffic: requests per second and their duration, from the gateway's counters. Pure."""

from collections import deque
from typing import NamedTuple

from blog.core.histogram import Histogram
from blog.gateway.telemetry.stats import BOUNDS, ServiceStatsSnapshot, StatsSnapshot

WINDOW = 10.0
"""Seconds over which a rate is measured."""
_P99 = 0.99


class RequestRate(NamedTuple):
    """Requests per second, and the seconds in which 99 % were answered (None: no requests)."""

    per_second: float = 0.0
    p99: float | None = None


class TrafficHistory:
    """The snapshots of the last `WINDOW` seconds. A restarted gateway counts from zero."""

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, StatsSnapshot]] = deque()

    def add(self, snapshot: StatsSnapshot, now: float) -> None:
        """Add a snapshot."""
        if self._snapshots and _total(snapshot) < _total(self._snapshots[-1][1]):
            self._snapshots.clear()
        self._snapshots.append((now, snapshot))
        while len(self._snapshots) > 2 and self._snapshots[1][0] <= now - WINDOW:  # noqa: PLR2004 - a first and a last
            self._snapshots.popleft()

    def rate(self, service: str) -> RequestRate:
        """Return the rate of `service` between the first and the last snapshot."""
        if not self._snapshots:
            return RequestRate()
        (began, before), (ended, after) = self._snapshots[0], self._snapshots[-1]
        requests = _histogram(after, service) - _histogram(before, service)
        if min(requests.counts) < 0:  # the gateway had forgotten it meanwhile, and counts from zero
            requests = _histogram(after, service)
        if not requests.count or ended <= began:
            return RequestRate()
        return RequestRate(requests.count / (ended - began), requests.quantile(_P99))

    def in_flight(self, service: str) -> int | None:
        """Return the requests to `service` in flight at the last snapshot, without streams."""
        if not self._snapshots:
            return None
        counted = self._snapshots[-1][1].services.get(service)
        return counted.in_flight - counted.streams if counted else 0

    def clear(self) -> None:
        """Drop all snapshots: nothing is known any more."""
        self._snapshots.clear()


def _histogram(snapshot: StatsSnapshot, service: str) -> Histogram:
    """Return how long the requests to `service` took; the gateway sends seconds and buckets."""
    stats: ServiceStatsSnapshot | None = snapshot.services.get(service)
    return Histogram(BOUNDS, stats.buckets, stats.seconds) if stats else Histogram(BOUNDS)


def _total(snapshot: StatsSnapshot) -> int:
    return sum(sum(counted.buckets) for counted in snapshot.services.values())
