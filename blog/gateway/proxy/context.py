"""Proxy: what all exchanges share: turns, connections, deadlines, counts and the access log.

Joins a client's connection to an instance's; what happens to one request is in `exchange`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import BlogError
from blog.core.instance import Instance, State
from blog.gateway.edge.local_responses import LocalResponses
from blog.gateway.edge.request_context import RequestContext
from blog.gateway.proxy.request import ProxiedRequest
from blog.gateway.routing import RouteMatch
from blog.gateway.telemetry.record import RequestTelemetry
from blog.gateway.upstream.balancer import LoadBalancer
from blog.gateway.upstream.connections import ConnectionPool
from blog.gateway.upstream.upstreams import Upstream
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import RESPONSE_TIMEOUT
from blog.http.server import ServerConnection
from blog.lifecycle.health_endpoints import HealthEndpoints


class ProxyOptions(NamedTuple):
    """What may be chosen. `response_timeout` is in seconds; `retries`: whether anything is sent again."""

    names_instance: bool = True
    retries: bool = True
    response_timeout: float = RESPONSE_TIMEOUT


class ProxyParts(NamedTuple):
    """What a proxy is made of."""

    turns: LoadBalancer
    places: ConnectionLimiter
    replies: LocalResponses
    records: RequestTelemetry
    health: HealthEndpoints
    clock: Clock


class ProxyContext:
    """Sends requests to instances."""

    def __init__(self, shared: ProxyParts, options: ProxyOptions, tasks: TaskSupervisor) -> None:
        self.turns = shared.turns
        self.places = shared.places
        self.upstream = ConnectionPool(tasks, shared.clock)
        self.retries = options.retries
        self.now: Callable[[], float] = shared.clock.monotonic
        self._options = options
        self._replies = shared.replies
        self._health = shared.health
        self._services = shared.records.stats.services
        self._note = shared.records.note
        self._answer_timeout = options.response_timeout
        self._active: set[ProxiedRequest] = set()
        self._endless: set[ProxiedRequest] = set()

    def began(self, exchange: ProxiedRequest, asked: RequestContext) -> None:
        """Count a request that will be sent to an instance."""
        self._active.add(exchange)
        self.turns.budget.requests += 1
        self._health.requests.add(1)
        asked.stats = self._services[asked.match.service]
        asked.stats.in_flight += 1

    def response_timeout(self, match: RouteMatch) -> float:
        """Return how many seconds an instance has to answer to what `match` is."""
        return self._answer_timeout if match.response_timeout is None else match.response_timeout

    def lines(self, asked: RequestContext, target: Upstream) -> bytes:
        """Return what the gateway says on an answer of `target`."""
        named = target.served_by if self._options.names_instance else b""
        return b"X-Request-Id: %b\r\n%b%b" % (asked.trace.request_id, named, asked.cors or b"")

    def reply(self, client: ServerConnection, asked: RequestContext, error: BlogError) -> int:
        """Answer with a problem; return its status."""
        return self._replies.problem(client, asked.head, error, asked.trace.request_id, asked.cors or b"")

    def stream_began(self, exchange: ProxiedRequest, asked: RequestContext) -> None:
        """Note an answer that does not end by itself: draining does not wait for it, but ends it."""
        self._endless.add(exchange)
        asked.stats.streams += 1
        self._health.requests.add(-1)
        self._health.streams.add(1)

    def end_streams(self) -> None:
        """End every endless answer."""
        for exchange in tuple(self._endless):
            exchange.end_stream()

    def done(
        self, exchange: ProxiedRequest, asked: RequestContext, status: int, by: Upstream | None
    ) -> None:
        """Count a request that is over, and write its line."""
        self._active.discard(exchange)
        seconds = self.now() - asked.began
        if exchange in self._endless:
            self._endless.discard(exchange)
            asked.stats.streams -= 1
            self._health.streams.add(-1)
        else:
            self._health.requests.add(-1)
        asked.stats.in_flight -= 1
        self._note(asked, status, seconds, by)

    def changed(self, known: Mapping[str, Instance], retired: list[Upstream]) -> None:
        """Take in who is known: close what waits at those who left, ask others where one is in doubt."""
        for target in retired:
            self.upstream.drop(target)
        for exchange in tuple(self._active):
            target_now = exchange.target
            if target_now is None:
                continue
            instance = known.get(target_now.instance.id)
            if instance is None or instance.state is State.SUSPECT:
                exchange.report_unhealthy()

    def sweep(self, now: float) -> None:
        """End whatever has had its time."""
        self.upstream.sweep(self.turns.targets.by_id.values(), now)
        for exchange in [one for one in self._active if one.due <= now]:
            exchange.is_late()

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<ProxyContext: {self.upstream!r}, {len(self._endless)} streams>"
