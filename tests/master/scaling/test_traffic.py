"""Rates are differences of what was counted."""

import pytest

from blog.gateway.telemetry.stats import GatewayStats, StatsSnapshot
from blog.master.scaling.traffic import WINDOW, RequestRate, TrafficHistory


def snapshot(
    count: int, seconds: float = 0.004, *, in_flight: int = 0, streams: int = 0
) -> StatsSnapshot:
    """Count so many answers of comments, each after `seconds`."""
    stats = GatewayStats()
    for _ in range(count):
        stats.services["comments"].record(200, seconds)
    stats.services["comments"].in_flight = in_flight
    stats.services["comments"].streams = streams
    return stats.snapshot()


def test_requests_per_second() -> None:
    """Between the first and the last snapshot; what came before does not count."""
    traffic = TrafficHistory()
    assert traffic.rate("comments") == RequestRate()
    traffic.add(snapshot(1000, 2.0), 0.0)
    assert traffic.rate("comments") == RequestRate()
    traffic.add(snapshot(1000, 2.0) + snapshot(100), 5.0)
    rate = traffic.rate("comments")
    assert rate.per_second == 20
    assert rate.p99 is not None
    assert 0.0025 < rate.p99 <= 0.005
    assert traffic.rate("posts") == RequestRate()


def test_the_window_moves_on() -> None:
    """What was busy before it is forgotten."""
    traffic = TrafficHistory()
    for second in range(30):
        traffic.add(snapshot(min(second, 10) * 5), float(second))
    assert traffic.rate("comments").per_second == 0
    traffic.add(snapshot(50 + 10), 30.0)
    assert traffic.rate("comments").per_second == pytest.approx(10 / WINDOW, rel=0.1)


def test_a_gateway_that_was_restarted_counts_from_nothing() -> None:
    """Nothing is negative."""
    traffic = TrafficHistory()
    traffic.add(snapshot(1000), 0.0)
    traffic.add(snapshot(5), 1.0)
    assert traffic.rate("comments") == RequestRate()
    traffic.add(snapshot(10), 2.0)
    assert traffic.rate("comments").per_second == 5


def test_streams_are_no_load() -> None:
    """Who listens to /live waits; nobody has to be started for it."""
    traffic = TrafficHistory()
    assert traffic.in_flight("comments") is None
    traffic.add(snapshot(0, in_flight=12, streams=10), 0.0)
    assert traffic.in_flight("comments") == 2
    assert traffic.in_flight("posts") == 0
    traffic.clear()
    assert traffic.in_flight("comments") is None


def test_a_service_that_was_forgotten_counts_from_nothing() -> None:
    """The gateway forgets a service that is gone; that is no restart, and nothing is negative."""
    traffic = TrafficHistory()
    for second, (comments, others) in enumerate([(9, 100), (0, 109), (4, 109)]):
        stats = GatewayStats()
        for name, count in (("comments", comments), ("posts", others)):
            for _ in range(count):
                stats.services[name].record(200, 0.004)
        traffic.add(stats.snapshot(), float(second))
        if second:
            assert traffic.rate("comments").per_second == (0 if second == 1 else 2)
