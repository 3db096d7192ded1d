"""Records: what is kept of an answered request: a count and a line."""

from blog.gateway.edge.request_context import RequestContext
from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.stats import GatewayStats
from blog.gateway.upstream.upstreams import Upstream


class RequestTelemetry:
    """Counts answers in `stats`, and writes them to `log`."""

    def __init__(self, stats: GatewayStats, log: AccessLog) -> None:
        self.stats = stats
        self.log = log

    def note(
        self, asked: RequestContext, status: int, seconds: float, by: Upstream | None = None
    ) -> None:
        """Keep what became of a request. `by` is None where no instance answered."""
        asked.stats.served(status, seconds)
        if status >= self.log.least:
            head, trace = asked.head, asked.trace
            self.log.add(
                head.method,
                head.raw_path,
                status,
                seconds,
                by.quoted if by is not None else b"null",
                trace.request_id,
                trace.traceparent,
                asked.client,
            )
