"""Collector: the gateway's numbers for Prometheus, which come from one process or several."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from blog.gateway.telemetry.stats import CLASSES, StatsSnapshot


class StatsCollector(Collector):
    """Shows the sum of what `snapshots()` returns to Prometheus."""

    def __init__(self, snapshots: Callable[[], Iterable[StatsSnapshot]] = tuple) -> None:
        self.snapshots = snapshots

    def total(self) -> StatsSnapshot:
        """Add them up."""
        return sum(self.snapshots(), StatsSnapshot())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        total = self.total()
        requests = CounterMetricFamily(
            "blog_gateway_requests", "Responses.", labels=("service", "status")
        )
        seconds = HistogramMetricFamily(
            "blog_gateway_request_seconds", "Time to respond to a request.", labels=("service",)
        )
        in_flight = GaugeMetricFamily(
            "blog_gateway_in_flight", "Requests in flight.", labels=("service",)
        )
        for name, stats in sorted(total.services.items()):
            for first_digit in CLASSES[1:]:
                requests.add_metric((name, f"{first_digit}xx"), stats.classes[first_digit])
            latency = stats.latency
            seconds.add_metric((name,), buckets=latency.cumulative(), sum_value=latency.sum)
            in_flight.add_metric((name,), stats.in_flight)
        yield from (requests, seconds, in_flight)
        yield _counter("blog_gateway_retries", "Requests sent once more.", "reason", total.retries)
        yield _counter(
            "blog_gateway_ejections", "Instances left out for a while.", "service", total.ejections
        )
        yield GaugeMetricFamily(
            "blog_gateway_connections", "Connections of clients.", value=total.connections
        )


def _counter(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family
