"""Handler: what happens to every request before it is proxied: trace, route, limits, CORS.

Every error is sent as a problem (RFC 9457) with the request's id.
"""

import random
from typing import NamedTuple

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import BlogError, MethodNotAllowed, NoRoute, Unavailable
from blog.core.logs import get_logger
from blog.core.net.instance_client import InstanceClient
from blog.core.settings import Settings
from blog.core.web import UNEXPECTED, expectation_failed
from blog.gateway import openapi
from blog.gateway.edge import cors
from blog.gateway.edge.client_address import TrustedProxies
from blog.gateway.edge.local_responses import RESPONDED, LocalRequest, LocalResponses
from blog.gateway.edge.rate_limit import RateLimiter
from blog.gateway.edge.token_buckets import TokenBuckets
from blog.gateway.edge.write_limit import WriteLimit
from blog.gateway.proxy.body import NO_BODY, RequestBody
from blog.gateway.proxy.context import ProxyContext, ProxyOptions, ProxyParts
from blog.gateway.proxy.headers import (
    IDEMPOTENCY_KEY,
    ClientHeaders,
    Inspected,
    filter_request,
    forward_volatile,
)
from blog.gateway.proxy.request import ProxiedRequest
from blog.gateway.proxy.request_context import RequestContext
from blog.gateway.routing import NoSuchMethod, NoSuchPath, RouteMatch
from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.record import RequestTelemetry
from blog.gateway.telemetry.stats import NO_SERVICE, GatewayStats
from blog.gateway.telemetry.trace import trace_of
from blog.gateway.upstream.balancer import LoadBalancer
from blog.gateway.upstream.retry import is_retryable
from blog.http.application import Handler
from blog.http.connection_limits import ConnectionLimiter
from blog.http.heads import RequestHead
from blog.http.limits import BODY_LIMIT, RESPONSE_TIMEOUT
from blog.http.responses import NO_HEAD
from blog.http.server import ServerConnection
from blog.lifecycle.health_endpoints import HealthEndpoints
from blog.registry.client.discovery import Discovery

_NO_MATCH = RouteMatch(NO_SERVICE, "")
_starting = Unavailable("This gateway is still starting; retry after 1 s.", headers={"Retry-After": "1"})
_incomplete = Unavailable(
    "This gateway has just started and does not know every service yet; retry after 1 s.",
    headers={"Retry-After": "1"},
)

log = get_logger()


class HandlerParts(NamedTuple):
    """What requests are passed to."""

    client: InstanceClient
    discovery: Discovery
    health: HealthEndpoints
    balancer: LoadBalancer


class HTTPRequestHandler:
    """The application of the public port. It responds with 503 until `open`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        stats: GatewayStats,
        access_log: AccessLog,
        buckets: TokenBuckets | None = None,
    ) -> None:
        self.limiter: ConnectionLimiter[ServerConnection] = ConnectionLimiter(
            settings.max_connections, settings.max_connections_per_address
        )
        self.tasks = TaskSupervisor("gateway")
        self._settings = settings
        self._clock = clock
        self._access_log = access_log
        self._now = clock.monotonic
        self._unmatched_stats = stats.services[NO_SERVICE]
        self._telemetry = RequestTelemetry(stats, access_log)
        self._responses = LocalResponses(clock.now)
        self._write_limit = WriteLimit(RateLimiter(settings.write_rate, settings.write_burst, buckets))
        self._origins = settings.cors_origins
        self._trusted_proxies = TrustedProxies(settings.trusted_proxies)
        self._random_bits = random.Random().getrandbits  # noqa: S311 - names, not secrets
        self._parts: HandlerParts | None = None
        self._proxy: ProxyContext | None = None
        stats.connections = lambda: len(self.limiter.open)

    def open(self, parts: HandlerParts, *, response_timeout: float = RESPONSE_TIMEOUT) -> None:
        """Let requests through."""
        balancer = parts.balancer
        self._parts = parts
        self._proxy = ProxyContext(
            ProxyParts(
                balancer, self.limiter, self._send_problem, self._telemetry, parts.health, self._clock
            ),
            ProxyOptions(self._settings.served_by, self._settings.retry, response_timeout),
            self.tasks,
        )
        balancer.on_change(self._proxy.upstreams_changed)

    def end_streams(self) -> None:
        """End the responses that do not end by themselves."""
        if self._proxy is not None:
            self._proxy.end_streams()

    def sweep(self) -> None:
        """End the requests and connections whose time is up."""
        now = self._clock.monotonic()
        self.limiter.sweep(now)
        if self._proxy is not None:
            self._proxy.sweep(now)
        self._access_log.flush()

    def begin(self, connection: ServerConnection, head: RequestHead) -> Handler:
        """Begin to respond to a request."""
        filtered = filter_request(head)
        inspected = filtered.inspected
        forwarded = filtered.lines + forward_volatile(head.volatile)
        client = self._client_of(connection, head)
        lines = None
        origins = self._origins
        if origins:
            lines = cors.response_lines(cors.allowed_origin(inspected.get(b"origin"), origins))
        context = RequestContext(
            head,
            _NO_MATCH,
            trace_of(inspected, self._random_bits),
            client.address,
            self._now(),
            lines,
            self._unmatched_stats,
        )
        try:
            return self._dispatch(connection, context, inspected, forwarded, client)
        except BlogError as error:
            status = self._send_problem(connection, context, error)
        except Exception:
            log.exception("request.failed", method=head.method.decode(), path=head.raw_path)
            status = self._send_problem(connection, context, BlogError(UNEXPECTED))
        self._record(context, status)
        connection.finish()
        return RESPONDED

    def refuse(self, connection: ServerConnection, error: BlogError) -> None:
        """Respond to something that is not a valid request."""
        trace = trace_of({}, self._random_bits)
        context = RequestContext(
            NO_HEAD,
            _NO_MATCH,
            trace,
            connection.address.encode(),
            self._now(),
            None,
            self._unmatched_stats,
        )
        self._record(context, self._send_problem(connection, context, error))

    def _dispatch(
        self,
        connection: ServerConnection,
        context: RequestContext,
        inspected: Inspected,
        forwarded: bytes,
        client: ClientHeaders,
    ) -> Handler:
        head, proxy = context.head, self._proxy
        if proxy is None:
            raise _starting
        if self._origins and cors.is_preflight(head.method, inspected):
            origin = cors.allowed_origin(inspected[b"origin"], self._origins)
            if origin is not None:
                return self._preflight(connection, context, inspected, origin)
        if head.raw_path == openapi.PATH and head.method in (b"GET", b"HEAD"):
            return self._serve_openapi(connection, context)
        if b"expect" in inspected and inspected[b"expect"].lower() != b"100-continue":
            raise expectation_failed()
        context.match = self._route(proxy.balancer, head)
        self._write_limit.check(context)
        context.is_retryable = is_retryable(head.method, has_key=IDEMPOTENCY_KEY in inspected)
        context.write_lines(inspected, client.lines(head.host), forwarded)
        limit = BODY_LIMIT if context.match.body_limit is None else context.match.body_limit
        body = (
            RequestBody(head, limit, is_retryable=context.is_retryable)
            if head.parsed.has_body
            else NO_BODY
        )
        request = ProxiedRequest(proxy, connection, context, body)
        proxy.started(request, context)
        request.begin(expects_continue=b"expect" in inspected)
        return request

    def _client_of(self, connection: ServerConnection, head: RequestHead) -> ClientHeaders:
        """Return the client: the peer, or the one that a trusted proxy names."""
        peer = connection.application_state
        if not isinstance(peer, ClientHeaders):
            is_trusted = self._trusted_proxies.trusts(connection.address)
            peer = ClientHeaders(connection.address, connection.scheme, is_trusted_proxy=is_trusted)
            connection.application_state = peer
        if not peer.is_trusted_proxy:
            return peer
        named = (head.get(b"x-forwarded-proto") or b"").lower()
        scheme = named.decode() if named in (b"http", b"https") else connection.scheme
        address = self._trusted_proxies.client_of(connection.address, head.get_all(b"x-forwarded-for"))
        return ClientHeaders(address, scheme)

    @staticmethod
    def _route(balancer: LoadBalancer, head: RequestHead) -> RouteMatch:
        """Find the service. Raises NoRoute or MethodNotAllowed; Unavailable while those may be wrong."""
        match balancer.routes.router.match(head.method.decode(), head.raw_path):
            case RouteMatch() as match:
                return match
            case _ if not balancer.is_complete():
                raise _incomplete
            case NoSuchPath():
                raise NoRoute(f"No route matches {head.raw_path[:200]}.")
            case NoSuchMethod(allowed=allowed):
                methods = ", ".join(allowed)
                raise MethodNotAllowed(f"Allowed here: {methods}.", headers={"Allow": methods})

    def _preflight(
        self, connection: ServerConnection, context: RequestContext, inspected: Inspected, origin: str
    ) -> Handler:
        assert self._parts is not None
        method = inspected[b"access-control-request-method"].decode("latin-1")
        balancer = self._parts.balancer
        match = balancer.routes.router.match(method, context.head.raw_path)
        if not (isinstance(match, RouteMatch) or balancer.is_complete()):
            raise _incomplete  # browsers cache the response to a preflight
        methods = match.allowed if isinstance(match, NoSuchMethod) else (method,)
        fields = cors.preflight(context.head.get(b"access-control-request-headers"), origin, methods)
        self._responses.send(connection, context.head, 204, fields, b"", context.trace.request_id)
        self._record(context, 204)
        connection.finish()
        return RESPONDED

    def _serve_openapi(self, connection: ServerConnection, context: RequestContext) -> Handler:
        """Merge the descriptions of all services; that takes a while."""
        parts = self._parts
        assert parts is not None
        if not parts.balancer.is_complete():
            raise _incomplete
        local = LocalRequest()

        async def describe() -> None:
            body = await openapi.describe(parts.client, parts.discovery, parts.balancer.routes.router)
            if local.is_gone:
                return
            fields = {"Content-Type": "application/json; charset=utf-8"}
            self._responses.send(
                connection, context.head, 200, fields, body, context.trace.request_id, context.cors or b""
            )
            self._record(context, 200)
            connection.finish()

        self.tasks.start(describe())
        return local

    def _send_problem(
        self, connection: ServerConnection, context: RequestContext, error: BlogError
    ) -> int:
        return self._responses.problem(
            connection, context.head, error, context.trace.request_id, context.cors or b""
        )

    def _record(self, context: RequestContext, status: int) -> None:
        self._telemetry.record(context, status, self._now() - context.started_at)

    def __repr__(self) -> str:
        """Show whether it is open, and its connections."""
        return f"<HTTPRequestHandler: {'open' if self._proxy else 'not open yet'}, {self.limiter!r}>"
