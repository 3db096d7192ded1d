"""Metrics of the bus: the log, its followers, and every subscription. Counted elsewhere, shown here."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from blog.bus.delivery.delivery import Delivery
from blog.bus.log.log import EventLog

_GAUGES = {
    "lag": "Events of the log that the position has not passed.",
    "in_flight": "Events that an instance has now.",
    "dead": "Keys that wait until a dead event is redriven or discarded.",
    "parked": "Events that wait after a dead one of their key.",
    "paused": "Whether it is paused.",
}


class BusCollector(Collector):
    """Shows the bus to Prometheus. `followers` returns the sequence up to which each has everything."""

    def __init__(
        self,
        event_log: EventLog,
        delivery: Delivery,
        followers: Callable[[], Iterable[int]],
        now: Callable[[], datetime],
    ) -> None:
        self._log = event_log
        self._delivery = delivery
        self._followers = followers
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        head = self._log.head
        yield GaugeMetricFamily("blog_bus_head", "The last sequence of the log.", value=head)
        commits = self._log.commit_seconds.copy()
        seconds = HistogramMetricFamily(
            "blog_bus_commit_seconds", "Time of a commit, with its fsync; many appends share one."
        )
        seconds.add_metric((), buckets=commits.cumulative(), sum_value=commits.sum)
        yield seconds
        positions = list(self._followers())
        yield GaugeMetricFamily(
            "blog_bus_followers", "Streams of events that are open.", value=len(positions)
        )
        lag = head - min(positions, default=head)
        yield GaugeMetricFamily("blog_bus_follower_lag", "Events that the slowest has to get.", value=lag)
        yield from self._subscriptions()

    def _subscriptions(self) -> Iterator[Metric]:
        rows = self._delivery.describe()
        for name, meaning in _GAUGES.items():
            gauge = GaugeMetricFamily(f"blog_bus_subscription_{name}", meaning, labels=("subscription",))
            for row in rows:
                gauge.add_metric((row["name"],), row[name])
            yield gauge
        oldest = GaugeMetricFamily(
            "blog_bus_subscription_oldest_seconds",
            "Age of the first event that is neither settled nor parked; 0 where there is none.",
            labels=("subscription",),
        )
        for row in rows:
            since = row["since"]
            age = 0.0 if since is None else (self._now() - datetime.fromisoformat(since)).total_seconds()
            oldest.add_metric((row["name"],), max(0.0, age))
        yield oldest
        attempts = CounterMetricFamily(
            "blog_bus_attempts", "Batches sent to an instance.", labels=("subscription", "outcome")
        )
        for name, outcome, count in self._delivery.attempts():
            attempts.add_metric((name, outcome), count)
        yield attempts
