"""Proxy context: what all proxied requests share: balancer, connection pool, deadlines, telemetry.

What happens to one request is in `request`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import BlogError
from blog.core.instance import Instance, State
from blog.gateway.proxy.in_flight import InFlightRequest
from blog.gateway.proxy.request_context import RequestContext
from blog.gateway.routing import RouteMatch
from blog.gateway.telemetry.record import RequestTelemetry
from blog.gateway.upstream.balancer import LoadBalancer
from blog.gateway.upstream.connections import ConnectionPool
from blog.gateway.upstream.upstreams import Upstream
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import RESPONSE_TIMEOUT
from blog.http.server import ServerConnection
from blog.lifecycle.health_endpoints import HealthEndpoints

SendProblem: TypeAlias = Callable[[ServerConnection, RequestContext, BlogError], int]
"""Responds with a problem; returns its status."""


class ProxyOptions(NamedTuple):
    """Settings. `response_timeout` is in seconds; `retries`: whether anything is sent again."""

    names_upstream: bool = True
    retries: bool = True
    response_timeout: float = RESPONSE_TIMEOUT


class ProxyParts(NamedTuple):
    """What a proxy is made of."""

    balancer: LoadBalancer
    limiter: ConnectionLimiter[ServerConnection]
    send_problem: SendProblem
    telemetry: RequestTelemetry
    health: HealthEndpoints
    clock: Clock


class ProxyContext:
    """Sends requests to upstreams."""

    def __init__(self, parts: ProxyParts, options: ProxyOptions, tasks: TaskSupervisor) -> None:
        self.balancer = parts.balancer
        self.limiter = parts.limiter
        self.send_problem = parts.send_problem
        self.pool = ConnectionPool(tasks, parts.clock)
        self.retries = options.retries
        self.now: Callable[[], float] = parts.clock.monotonic
        self._options = options
        self._health = parts.health
        self._services = parts.telemetry.stats.services
        self._record = parts.telemetry.record
        self._response_timeout = options.response_timeout
        self._active: set[InFlightRequest] = set()
        self._streams: set[InFlightRequest] = set()

    def started(self, request: InFlightRequest, context: RequestContext) -> None:
        """Count a request that will be sent to an upstream."""
        self._active.add(request)
        self.balancer.budget.requests += 1
        self._health.requests.add(1)
        context.stats = self._services[context.match.service]
        context.stats.in_flight += 1

    def response_timeout(self, match: RouteMatch) -> float:
        """Return how many seconds an upstream has to respond on this route."""
        return self._response_timeout if match.response_timeout is None else match.response_timeout

    def response_lines(self, context: RequestContext, upstream: Upstream) -> bytes:
        """Return the header lines that the gateway adds to a response of `upstream`."""
        served_by = upstream.served_by_line if self._options.names_upstream else b""
        return b"X-Request-Id: %b\r\n%b%b" % (context.trace.request_id, served_by, context.cors or b"")

    def stream_started(self, request: InFlightRequest, context: RequestContext) -> None:
        """Count a response that does not end by itself: draining does not wait for it, but ends it."""
        self._streams.add(request)
        context.stats.streams += 1
        self._health.requests.add(-1)
        self._health.streams.add(1)

    def end_streams(self) -> None:
        """End every response that does not end by itself."""
        for request in tuple(self._streams):
            request.end_stream()

    def done(
        self, request: InFlightRequest, context: RequestContext, status: int, by: Upstream | None
    ) -> None:
        """Count a request that is over, and log it. `by` is the upstream that has responded, if any."""
        self._active.discard(request)
        seconds = self.now() - context.started_at
        if request in self._streams:
            self._streams.discard(request)
            context.stats.streams -= 1
            self._health.streams.add(-1)
        else:
            self._health.requests.add(-1)
        context.stats.in_flight -= 1
        if by is None:
            self._record(context, status, seconds)
        else:
            self._record(context, status, seconds, by.json_id)

    def upstreams_changed(self, known: Mapping[str, Instance], retired: list[Upstream]) -> None:
        """Close the idle connections of `retired`; retry what was sent to a suspect or lost upstream."""
        for upstream in retired:
            self.pool.close_idle(upstream)
        for request in tuple(self._active):
            current = request.upstream
            if current is None:
                continue
            instance = known.get(current.instance.id)
            if instance is None or instance.state is State.SUSPECT:
                request.upstream_suspected()

    def sweep(self, now: float) -> None:
        """End the requests and connections whose time is up."""
        self.pool.sweep(self.balancer.upstreams.by_id.values(), now)
        for request in [one for one in self._active if one.deadline <= now]:
            request.time_out()

    def __repr__(self) -> str:
        """Show what is in flight."""
        return f"<ProxyContext: {self.pool!r}, {len(self._streams)} streams>"
