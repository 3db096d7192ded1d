"""Record: what is kept of a request that is over: counts, and a line of the access log."""

from typing import Protocol

from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.stats import GatewayStats, ServiceStats
from blog.gateway.telemetry.trace import TraceContext
from blog.http.heads import RequestHead


class RecordedRequest(Protocol):
    """What is recorded of a request."""

    @property
    def head(self) -> RequestHead:
        """Its head."""
        ...

    @property
    def trace(self) -> TraceContext:
        """Its id and trace."""
        ...

    @property
    def client(self) -> bytes:
        """The client's address."""
        ...

    @property
    def stats(self) -> ServiceStats:
        """The statistics of its service."""
        ...


class RequestTelemetry:
    """Counts requests in `stats`, and writes them to `log`."""

    def __init__(self, stats: GatewayStats, log: AccessLog) -> None:
        self.stats = stats
        self.log = log

    def record(
        self, request: RecordedRequest, status: int, seconds: float, instance: bytes = b"null"
    ) -> None:
        """Record the outcome of a request. `instance` is the id that has responded, as JSON."""
        request.stats.record(status, seconds)
        if status >= self.log.least:
            head, trace = request.head, request.trace
            self.log.add(
                head.method,
                head.raw_path,
                status,
                seconds,
                instance,
                trace.request_id,
                trace.traceparent,
                request.client,
            )
