"""What is counted, and added up."""

from blog.gateway.telemetry.stats import GatewayStats, StatsSnapshot


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
