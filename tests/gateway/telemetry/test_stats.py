"""What is counted, and added up."""

from typing import Any

import pytest
from pydantic import ValidationError

from blog.gateway.telemetry.stats import (
    FORGOTTEN,
    NO_SERVICE,
    GatewayStats,
    ServiceStatsSnapshot,
    StatsSnapshot,
)


def snapshot() -> StatsSnapshot:
    """Count a few responses."""
    stats = GatewayStats()
    for status, seconds in ((200, 0.003), (204, 0.003), (503, 20.0)):
        stats.services["posts"].record(status, seconds)
    stats.services["posts"].in_flight = 2
    stats.retries["broken"] += 1
    stats.connections = lambda: 3
    return stats.snapshot()


def test_what_has_ended_has_nothing_open() -> None:
    """But what it counted stays."""
    ended = snapshot().ended()
    assert (ended.connections, ended.services["posts"].in_flight) == (0, 0)
    assert sum(ended.services["posts"].classes) == 3


def test_processes_add_up() -> None:
    """Also when one of them is read from JSON; a service may be known to one of them only."""
    other = GatewayStats()
    other.services["things"].record(404, 0.2)
    total = (
        StatsSnapshot.model_validate_json(snapshot().model_dump_json()) + snapshot() + other.snapshot()
    )
    posts = total.services["posts"]
    assert (posts.classes, posts.in_flight) == ([0, 0, 4, 0, 0, 2], 4)
    assert (posts.latency.count, round(posts.seconds, 3)) == (6, 40.012)
    assert (total.services["things"].latency.count, total.connections) == (1, 6)
    assert total.retries == {"broken": 2}


@pytest.mark.parametrize(
    "odd",
    [
        {"buckets": [1]},
        {"classes": [1] * 7},
        {"seconds": float("inf")},
        {"classes": [-1] * 6},
        {"streams": 10**400},
    ],
)
def test_numbers_that_do_not_add_up_are_refused(odd: dict[str, Any]) -> None:
    """One process of another version would break the sum of all."""
    stats = snapshot().services["posts"].model_dump()
    with pytest.raises(ValidationError):
        ServiceStatsSnapshot.model_validate(stats | odd)


def test_only_idle_services_are_forgotten() -> None:
    """A request that is in flight is still counted, and so are those that no service had."""
    stats = GatewayStats()
    for name in ("posts", "gone", "busy", "streaming", NO_SERVICE):
        stats.services[name].record(200, 0.1)
        stats.ejections[name] += 1
    stats.services["busy"].in_flight = stats.services["streaming"].streams = 1
    del stats.ejections[NO_SERVICE]
    for _ in range(2):
        stats.retain({"posts"})
        assert set(stats.services) == {"posts", "busy", "streaming", NO_SERVICE, FORGOTTEN}
        assert stats.ejections == {"posts": 1, FORGOTTEN: 3}


def test_what_was_counted_remains_in_the_sums() -> None:
    """Of services that come and go for ever, in one number; a sum that falls looks like a restart."""
    stats = GatewayStats()
    for number in range(5):
        stats.services[f"s{number}"].record(503, 0.25)
        stats.services[f"s{number}"].record(200, 0.25)
        stats.retain(())
    [(name, counted)] = stats.snapshot().services.items()
    assert name == FORGOTTEN
    assert (counted.classes[2], counted.classes[5], counted.latency.count) == (5, 5, 10)
    assert counted.seconds == 2.5
