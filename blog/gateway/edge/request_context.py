"""Asked: what a client asked, as it goes to whichever instance. Plain data."""

from blog.gateway.proxy.headers import TraceContext
from blog.gateway.routing import RouteMatch
from blog.gateway.telemetry.stats import ServiceStats
from blog.http.heads import RequestHead


class RequestContext:
    """What a client asked, as it goes to any instance: everything but its framing and the instance's id.

    `began` is monotonic seconds, `client` the address, `upgrade` the protocol that it asks to switch
    to (empty: none), `target` what an instance is asked for. `cors` are the lines that share an answer
    across sites, None where nobody does.
    """

    __slots__ = (
        "began",
        "client",
        "cors",
        "head",
        "is_retryable",
        "lines",
        "match",
        "stats",
        "target",
        "trace",
        "upgrade",
        "wants_trailers",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - what a request is made of
        self,
        head: RequestHead,
        match: RouteMatch,
        trace: TraceContext,
        client: bytes,
        began: float,
        cors: bytes | None,
        stats: ServiceStats,
    ) -> None:
        self.head = head
        self.target = head.target
        self.match = match
        self.trace = trace
        self.client = client
        self.began = began
        self.cors = cors
        self.stats = stats
        self.lines = b""
        self.is_retryable = False
        self.upgrade = b""
        self.wants_trailers = False
