"""What Prometheus sees."""

from prometheus_client import CollectorRegistry, generate_latest

from blog.gateway.telemetry.collector import StatsCollector
from blog.gateway.telemetry.stats import GatewayStats, StatsSnapshot


def count() -> GatewayStats:
    """Count a few answers."""
    stats = GatewayStats()
    stats.services["posts"].record(200, 0.003)
    stats.services["posts"].record(204, 0.003)
    stats.services["posts"].record(503, 20.0)
    stats.services["posts"].in_flight = 2
    stats.retries["broken"] += 1
    stats.connections = lambda: 3
    return stats


def test_prometheus_sees_the_sum() -> None:
    """Of everybody; buckets are cumulative."""
    registry = CollectorRegistry()
    snapshot = StatsSnapshot.model_validate_json(count().snapshot().model_dump_json())
    registry.register(StatsCollector(lambda: [snapshot, count().snapshot()]))
    shown = generate_latest(registry).decode()
    for line in (
        'blog_gateway_requests_total{service="posts",status="2xx"} 4.0',
        'blog_gateway_requests_total{service="posts",status="5xx"} 2.0',
        'blog_gateway_request_seconds_bucket{le="0.0025",service="posts"} 0.0',
        'blog_gateway_request_seconds_bucket{le="0.005",service="posts"} 4.0',
        'blog_gateway_request_seconds_bucket{le="10.0",service="posts"} 4.0',
        'blog_gateway_request_seconds_bucket{le="+Inf",service="posts"} 6.0',
        'blog_gateway_request_seconds_count{service="posts"} 6.0',
        'blog_gateway_in_flight{service="posts"} 4.0',
        'blog_gateway_retries_total{reason="broken"} 2.0',
        "blog_gateway_connections 6.0",
    ):
        assert line in shown, shown
