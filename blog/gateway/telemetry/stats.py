"""Stats: what the gateway counts, per service. Plain numbers; `collector` shows them to Prometheus.

Numbers of several processes add up: a `StatsSnapshot` has those of one process, as JSON can carry it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container
from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.histogram import Histogram
from blog.core.instance import MAX_COUNT

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds."""

NO_SERVICE = "none"
"""Stands for the service of a request that the gateway responded to itself."""

FORGOTTEN = "_forgotten"
"""Stands for all services that are gone for good; no service can have this name."""

CLASSES = range(6)
"""First digits of statuses."""

_NO_NAMES = frozenset({NO_SERVICE, FORGOTTEN})

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""What a process, maybe another one, says that it has counted."""


class ServiceStats:
    """The numbers of one service. `classes[2]` are the 2xx; `latency` is in seconds."""

    __slots__ = ("classes", "in_flight", "latency", "streams")

    def __init__(self) -> None:
        self.classes = [0] * len(CLASSES)
        self.latency = Histogram(BOUNDS)
        self.in_flight = 0
        self.streams = 0

    def record(self, status: int, seconds: float) -> None:
        """Count a response."""
        self.classes[status // 100] += 1
        self.latency.observe(seconds)

    def add(self, other: "ServiceStats") -> None:
        """Add the responses that another one has counted."""
        self.classes = [mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)]
        self.latency += other.latency

    def snapshot(self) -> "ServiceStatsSnapshot":
        """Return the numbers as they are now."""
        return ServiceStatsSnapshot(
            classes=list(self.classes),
            buckets=list(self.latency.counts),
            seconds=self.latency.sum,
            in_flight=self.in_flight,
            streams=self.streams,
        )


class ServiceStatsSnapshot(BaseModel):
    """The numbers of one service. `streams` are those in flight that do not end by themselves.

    `buckets` and `seconds` are the counts and the sum of the histogram over BOUNDS.
    """

    classes: Annotated[list[Count], Field(min_length=len(CLASSES), max_length=len(CLASSES))]
    buckets: Annotated[list[Count], Field(min_length=len(BOUNDS) + 1, max_length=len(BOUNDS) + 1)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    in_flight: Annotated[int, Field(le=MAX_COUNT)]
    streams: Annotated[int, Field(le=MAX_COUNT)] = 0

    @property
    def latency(self) -> Histogram:
        """How long requests took, in seconds."""
        return Histogram(BOUNDS, self.buckets, self.seconds)

    def __add__(self, other: "ServiceStatsSnapshot") -> "ServiceStatsSnapshot":
        """Add up."""
        latency = self.latency + other.latency
        return ServiceStatsSnapshot(
            classes=[mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)],
            buckets=latency.counts,
            seconds=latency.sum,
            in_flight=self.in_flight + other.in_flight,
            streams=self.streams + other.streams,
        )


class StatsSnapshot(BaseModel):
    """The numbers of one process, or of several. `requests` and `streams` are those in flight."""

    services: dict[str, ServiceStatsSnapshot] = {}
    retries: dict[str, int] = {}
    ejections: dict[str, int] = {}
    connections: Count = 0
    requests: Count = 0
    streams: Count = 0

    def __add__(self, other: "StatsSnapshot") -> "StatsSnapshot":
        """Add up."""
        services = dict(self.services)
        for name, stats in other.services.items():
            services[name] = services[name] + stats if name in services else stats
        return StatsSnapshot(
            services=services,
            retries=Counter(self.retries) + Counter(other.retries),
            ejections=Counter(self.ejections) + Counter(other.ejections),
            connections=self.connections + other.connections,
            requests=self.requests + other.requests,
            streams=self.streams + other.streams,
        )

    def ended(self) -> "StatsSnapshot":
        """Return what remains of a process that has ended: it has nothing in flight any more."""
        services = {
            name: stats.model_copy(update={"in_flight": 0, "streams": 0})
            for name, stats in self.services.items()
        }
        return self.model_copy(
            update={"services": services, "connections": 0, "requests": 0, "streams": 0}
        )


class GatewayStats:
    """The numbers of this process. `connections()` returns how many clients are connected."""

    def __init__(self) -> None:
        self.services: defaultdict[str, ServiceStats] = defaultdict(ServiceStats)
        self.retries: Counter[str] = Counter()
        self.ejections: Counter[str] = Counter()
        self.connections: Callable[[], int] = int

    def retain(self, services: Container[str]) -> None:
        """Count the idle services that are not among `services` as one: names may come and go for ever.

        What was counted remains in the sums.
        """
        for name in [name for name in self.services if name not in services and name not in _NO_NAMES]:
            stats = self.services[name]
            if not (stats.in_flight or stats.streams):
                self.services[FORGOTTEN].add(self.services.pop(name))
        for name in [name for name in self.ejections if name not in services and name != FORGOTTEN]:
            self.ejections[FORGOTTEN] += self.ejections.pop(name)

    def snapshot(self) -> StatsSnapshot:
        """Return the numbers as they are now."""
        return StatsSnapshot(
            services={name: stats.snapshot() for name, stats in self.services.items()},
            retries=dict(self.retries),
            ejections=dict(self.ejections),
            connections=self.connections(),
        )

    def __repr__(self) -> str:
        """Show how many requests each service had."""
        counts = (f"{name} {sum(stats.classes)}" for name, stats in self.services.items())
        return f"<GatewayStats: {', '.join(counts) or 'nothing yet'}>"
