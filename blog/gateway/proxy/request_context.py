"""Request context: what is known of a client's request, whichever upstream gets it. Plain data."""

from collections.abc import Mapping

from blog.gateway.routing import RouteMatch
from blog.gateway.telemetry.stats import ServiceStats
from blog.gateway.telemetry.trace import TraceContext
from blog.http.heads import RequestHead

# a way around everything that inspects requests (RFC 9113 §3.1 dropped it)
_UPGRADES_REFUSED = frozenset({b"h2c"})


class RequestContext:
    """A client's request as it goes to any upstream: everything but its framing and the upstream's id.

    `started_at` is monotonic seconds, `client` the address, `lines` the head without framing, `upgrade`
    the protocol to switch to (empty: none), `target` the path and query for the upstream. `cors` are the
    lines that share a response across sites, None where nothing is shared.
    """

    __slots__ = (
        "client",
        "cors",
        "head",
        "is_retryable",
        "lines",
        "match",
        "started_at",
        "stats",
        "target",
        "trace",
        "upgrade",
        "wants_trailers",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - a request has these parts
        self,
        head: RequestHead,
        match: RouteMatch,
        trace: TraceContext,
        client: bytes,
        started_at: float,
        cors: bytes | None,
        stats: ServiceStats,
    ) -> None:
        self.head = head
        self.target = head.target
        self.match = match
        self.trace = trace
        self.client = client
        self.started_at = started_at
        self.cors = cors
        self.stats = stats
        self.lines = b""
        self.is_retryable = False
        self.upgrade = b""
        self.wants_trailers = False

    def write_lines(self, inspected: Mapping[bytes, bytes], client: bytes, forwarded: bytes) -> None:
        """Write the head for the upstream: `client` and `forwarded` are header lines.

        Of the hop-by-hop fields only an upgrade and the wish for trailers are passed on.
        """
        head = self.head
        hop = b""
        if not inspected:
            pass
        elif not head.has_body and b"upgrade" in inspected and b"upgrade" in head.options:
            protocol = inspected[b"upgrade"]
            if protocol.lower() not in _UPGRADES_REFUSED and head.method == b"GET":
                self.upgrade = protocol
                hop = b"Connection: upgrade\r\nUpgrade: %b\r\n" % protocol
        elif b"te" in inspected and b"trailers" in inspected[b"te"].lower():
            self.wants_trailers = True
            hop = b"Connection: TE\r\nTE: trailers\r\n"
        self.lines = b"%b %b HTTP/1.1\r\n%b%b%b%b" % (
            head.method,
            self.target,
            client,
            self.trace.lines,
            forwarded,
            hop,
        )
