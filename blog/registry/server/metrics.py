"""Metrics of the registry: instances by state, departures by cause, and whether followers keep up."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from blog.core.instance import State
from blog.registry.server.membership import Membership
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.transitions import RemovalCause

_STATES = (State.STARTING, State.READY, State.SUSPECT, State.DRAINING)


class RegistryCollector(Collector):
    """Exposes a registry to Prometheus. The numbers are counted where things happen."""

    def __init__(self, epoch: str, membership: Membership, publisher: TablePublisher) -> None:
        self._epoch = epoch
        self._membership = membership
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield InfoMetricFamily(
            "blog_registry_epoch", "Changes with each start.", value={"epoch": self._epoch}
        )
        yield from self._instances()
        yield from self._followers()

    def _instances(self) -> Iterator[Metric]:
        table, counts = self._membership, self._membership.counts()
        states = GaugeMetricFamily("blog_registry_instances", "Instances by state.", labels=("state",))
        for state in _STATES:
            states.add_metric((state,), counts[state])
        yield states
        yield CounterMetricFamily("blog_registry_joins", "Instances that joined.", value=table.joins)
        gone = CounterMetricFamily(
            "blog_registry_departures", "Instances that left or were lost.", labels=("reason", "cause")
        )
        for cause in RemovalCause:
            gone.add_metric((cause.departure, cause), table.departures[cause])
        yield gone
        yield CounterMetricFamily(
            "blog_registry_suspicions", "Instances that became suspect.", value=table.suspicions
        )
        yield CounterMetricFamily(
            "blog_registry_self_preservations",
            "Times that self-preservation began: half went silent at once.",
            value=table.self_preservations,
        )
        yield GaugeMetricFamily(
            "blog_registry_self_preservation",
            "Whether self-preservation is active: no instance is lost for being silent.",
            value=table.is_self_preserving,
        )

    def _followers(self) -> Iterator[Metric]:
        followers = self._publisher.followers()
        lag = max((session.sent_version - session.acked_version for session in followers), default=0)
        yield GaugeMetricFamily("blog_registry_version", "Of the table.", value=self._publisher.version)
        yield GaugeMetricFamily("blog_registry_followers", "Following sessions.", value=len(followers))
        yield GaugeMetricFamily(
            "blog_registry_follower_lag", "Versions that the slowest has not acknowledged.", value=lag
        )
