"""Stats: what the gateway counts, per service. Plain numbers here; Prometheus asks for them when it asks.

Numbers of several processes add up: a `StatsSnapshot` is what one of them knows, as JSON can carry it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds."""

NOBODY = "none"
"""Stands for the service of a request that no service answered."""

_CLASSES = range(6)


class ServiceStats:
    """What was counted for one service. `classes[2]` are the 2xx; `buckets` is one longer than BOUNDS."""

    __slots__ = ("buckets", "classes", "in_flight", "seconds", "streams")

    def __init__(self) -> None:
        self.classes = [0] * len(_CLASSES)
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.in_flight = 0
        self.streams = 0

    def served(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.classes[status // 100] += 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class StatsOfService(BaseModel):
    """The numbers of one service. `streams` are those in flight that do not end by themselves."""

    classes: list[int]
    buckets: list[int]
    seconds: float
    in_flight: int
    streams: int = 0

    def __add__(self, other: "StatsOfService") -> "StatsOfService":
        """Add up."""
        return StatsOfService(
            classes=[mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)],
            buckets=[mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)],
            seconds=self.seconds + other.seconds,
            in_flight=self.in_flight + other.in_flight,
            streams=self.streams + other.streams,
        )


class StatsSnapshot(BaseModel):
    """The numbers of one process, or of several. `requests` and `streams` are those it has now."""

    services: dict[str, StatsOfService] = {}
    retries: dict[str, int] = {}
    ejections: dict[str, int] = {}
    connections: int = 0
    requests: int = 0
    streams: int = 0

    def __add__(self, other: "StatsSnapshot") -> "StatsSnapshot":
        """Add up."""
        services = dict(self.services)
        for name, counted in other.services.items():
            services[name] = services[name] + counted if name in services else counted
        return StatsSnapshot(
            services=services,
            retries=Counter(self.retries) + Counter(other.retries),
            ejections=Counter(self.ejections) + Counter(other.ejections),
            connections=self.connections + other.connections,
            requests=self.requests + other.requests,
            streams=self.streams + other.streams,
        )

    def ended(self) -> "StatsSnapshot":
        """Return what stays of a process that has ended: it has nothing open any more."""
        services = {
            name: counted.model_copy(update={"in_flight": 0, "streams": 0})
            for name, counted in self.services.items()
        }
        return self.model_copy(
            update={"services": services, "connections": 0, "requests": 0, "streams": 0}
        )


class GatewayStats:
    """The numbers of this process. `connections()` tells how many clients are connected."""

    def __init__(self) -> None:
        self.services: defaultdict[str, ServiceStats] = defaultdict(ServiceStats)
        self.retries: Counter[str] = Counter()
        self.ejections: Counter[str] = Counter()
        self.connections: Callable[[], int] = int

    def snapshot(self) -> StatsSnapshot:
        """Return them as they are now."""
        return StatsSnapshot(
            services={
                name: StatsOfService(
                    classes=list(one.classes),
                    buckets=list(one.buckets),
                    seconds=one.seconds,
                    in_flight=one.in_flight,
                    streams=one.streams,
                )
                for name, one in self.services.items()
            },
            retries=dict(self.retries),
            ejections=dict(self.ejections),
            connections=self.connections(),
        )

    def __repr__(self) -> str:
        """Show how many requests were answered for whom."""
        counts = (f"{name} {sum(one.classes)}" for name, one in self.services.items())
        return f"<GatewayStats: {', '.join(counts) or 'nothing yet'}>"


class StatsCollector(Collector):
    """Shows what `snapshots()` give, added up, to Prometheus."""

    def __init__(self, snapshots: Callable[[], Iterable[StatsSnapshot]] = tuple) -> None:
        self.snapshots = snapshots

    def total(self) -> StatsSnapshot:
        """Add them up."""
        return sum(self.snapshots(), StatsSnapshot())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        total = self.total()
        requests = CounterMetricFamily(
            "blog_gateway_requests", "Requests answered.", labels=("service", "status")
        )
        seconds = HistogramMetricFamily(
            "blog_gateway_request_seconds", "Time to answer a request.", labels=("service",)
        )
        in_flight = GaugeMetricFamily(
            "blog_gateway_in_flight", "Requests being answered.", labels=("service",)
        )
        for name, one in sorted(total.services.items()):
            for first_digit in _CLASSES[1:]:
                requests.add_metric((name, f"{first_digit}xx"), one.classes[first_digit])
            seconds.add_metric((name,), buckets=_cumulative(one.buckets), sum_value=one.seconds)
            in_flight.add_metric((name,), one.in_flight)
        yield from (requests, seconds, in_flight)
        yield _counter("blog_gateway_retries", "Requests sent to another instance.", "why", total.retries)
        yield _counter(
            "blog_gateway_ejections", "Instances left out for a while.", "service", total.ejections
        )
        yield GaugeMetricFamily(
            "blog_gateway_connections", "Connections of clients.", value=total.connections
        )


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus wants them: each holds what is in those before it."""
    total = 0
    listed: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        total += count
        listed.append((bound, total))
    return listed


def _counter(name: str, meaning: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family
