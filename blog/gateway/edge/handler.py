"""Door: what happens to every request before it is an exchange: names, route, limits, CORS.

Every error leaves as a problem (RFC 9457) that carries the request's id.
"""

import random
from typing import NamedTuple

import aiohttp

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import BlogError, MethodNotAllowed, NoRoute, Unavailable
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import UNEXPECTED, expectation_failed
from blog.gateway import openapi
from blog.gateway.edge import cors
from blog.gateway.edge.client_address import TrustedProxies
from blog.gateway.edge.local_request import NOTHING, LocalRequest
from blog.gateway.edge.local_responses import LocalResponses
from blog.gateway.edge.rate_limit import RateLimiter
from blog.gateway.edge.request_context import RequestContext
from blog.gateway.edge.token_buckets import TokenBuckets
from blog.gateway.edge.write_limit import WriteLimit
from blog.gateway.proxy.body import NO_BODY, RequestBody
from blog.gateway.proxy.context import ProxyContext, ProxyOptions, ProxyParts
from blog.gateway.proxy.headers import (
    IDEMPOTENCY_KEY,
    ClientHeaders,
    Noted,
    passed_loose,
    sort_request,
    trace_of,
)
from blog.gateway.proxy.request import ProxiedRequest
from blog.gateway.routing import NoSuchMethod, NoSuchPath, RouteMatch
from blog.gateway.telemetry.access_log import AccessLog
from blog.gateway.telemetry.record import RequestTelemetry
from blog.gateway.telemetry.stats import NOBODY, GatewayStats
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

_NO_MATCH = RouteMatch(NOBODY, "")
_UPGRADES_REFUSED = frozenset(
    {b"h2c"}
)  # a way around whoever looks at requests (RFC 9113 §3.1 dropped it)
_starting = Unavailable("This gateway is still starting; retry after 1 s.", headers={"Retry-After": "1"})
_incomplete = Unavailable(
    "This gateway has just started and does not know every service yet; retry after 1 s.",
    headers={"Retry-After": "1"},
)

log = get_logger()


class HandlerParts(NamedTuple):
    """What an open door leads to."""

    http: aiohttp.ClientSession
    discovery: Discovery
    health: HealthEndpoints
    turns: LoadBalancer


class HTTPRequestHandler:
    """The application behind the public port. It answers 503 until it is opened."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        stats: GatewayStats,
        access_log: AccessLog,
        buckets: TokenBuckets | None = None,
    ) -> None:
        self.places = ConnectionLimiter(settings.max_connections, settings.max_connections_per_address)
        self.tasks = TaskSupervisor("gateway")
        self._settings = settings
        self._clock = clock
        self._log = access_log
        self._now = clock.monotonic
        self._nobodys = stats.services[NOBODY]
        self._records = RequestTelemetry(stats, access_log)
        self._replies = LocalResponses(clock.now)
        self._writes = WriteLimit(RateLimiter(settings.write_rate, settings.write_burst, buckets))
        self._origins = settings.cors_origins
        self._trusted = TrustedProxies(settings.trusted_proxies)
        self._bits = random.Random().getrandbits  # noqa: S311 - names, not secrets
        self._inside: HandlerParts | None = None
        self._proxy: ProxyContext | None = None
        stats.connections = lambda: len(self.places.open)

    def open(self, inside: HandlerParts, *, response_timeout: float = RESPONSE_TIMEOUT) -> None:
        """Let requests through."""
        turns = inside.turns
        self._inside = inside
        self._proxy = ProxyContext(
            ProxyParts(turns, self.places, self._replies, self._records, inside.health, self._clock),
            ProxyOptions(self._settings.served_by, self._settings.retry, response_timeout),
            self.tasks,
        )
        turns.listen(self._proxy.changed)

    def end_streams(self) -> None:
        """End the endless answers that go through here."""
        if self._proxy is not None:
            self._proxy.end_streams()

    def sweep(self) -> None:
        """End whatever has had its time."""
        now = self._clock.monotonic()
        self.places.sweep(now)
        if self._proxy is not None:
            self._proxy.sweep(now)
        self._log.flush()

    def begin(self, connection: ServerConnection, head: RequestHead) -> Handler:
        """Begin to answer a request."""
        known = sort_request(head)
        noted = known.noted
        passed = known.lines + passed_loose(head.loose)
        client = self._client_of(connection, head)
        lines = None
        origins = self._origins
        if origins:
            lines = cors.share(cors.allowed_origin(noted.get(b"origin"), origins))
        asked = RequestContext(
            head,
            _NO_MATCH,
            trace_of(noted, self._bits),
            client.spelt,
            self._now(),
            lines,
            self._nobodys,
        )
        try:
            return self._dispatch(connection, asked, noted, passed, client)
        except BlogError as error:
            status = self._problem(connection, asked, error)
        except Exception:
            log.exception("request.failed", method=head.method.decode(), path=head.raw_path)
            status = self._problem(connection, asked, BlogError(UNEXPECTED))
        self._note(asked, status)
        connection.finish()
        return NOTHING

    def refuse(self, connection: ServerConnection, error: BlogError) -> None:
        """Answer what is no request."""
        trace = trace_of({}, self._bits)
        asked = RequestContext(
            NO_HEAD,
            _NO_MATCH,
            trace,
            connection.address.encode(),
            self._now(),
            None,
            self._nobodys,
        )
        self._note(asked, self._problem(connection, asked, error))

    def _dispatch(
        self,
        connection: ServerConnection,
        asked: RequestContext,
        noted: Noted,
        passed: bytes,
        client: ClientHeaders,
    ) -> Handler:
        head, proxy = asked.head, self._proxy
        if proxy is None:
            raise _starting
        if self._origins and cors.is_preflight(head.method, noted):
            origin = cors.allowed_origin(noted[b"origin"], self._origins)
            if origin is not None:
                return self._preflight(connection, asked, noted, origin)
        if head.raw_path == openapi.PATH and head.method in (b"GET", b"HEAD"):
            return self._describe(connection, asked)
        if b"expect" in noted and noted[b"expect"].lower() != b"100-continue":
            raise expectation_failed()
        asked.match = self._route(proxy.turns, head)
        self._writes.check(asked)
        asked.is_retryable = is_retryable(head.method, has_key=IDEMPOTENCY_KEY in noted)
        self._compose(asked, noted, passed, client)
        limit = BODY_LIMIT if asked.match.body_limit is None else asked.match.body_limit
        body = (
            RequestBody(head, limit, is_retryable=asked.is_retryable) if head.block.has_body else NO_BODY
        )
        exchange = ProxiedRequest(proxy, connection, asked, body)
        proxy.began(exchange, asked)
        exchange.begin(expects=b"expect" in noted)
        return exchange

    def _compose(self, asked: RequestContext, noted: Noted, passed: bytes, client: ClientHeaders) -> None:
        """Write the lines that go to whichever instance."""
        head = asked.head
        hop = b""
        if not noted:
            pass
        elif not head.has_body and b"upgrade" in noted and b"upgrade" in head.options:
            protocol = noted[b"upgrade"]
            if protocol.lower() not in _UPGRADES_REFUSED and head.method == b"GET":
                asked.upgrade = protocol
                hop = b"Connection: upgrade\r\nUpgrade: %b\r\n" % protocol
        elif b"te" in noted and b"trailers" in noted[b"te"].lower():
            asked.wants_trailers = True
            hop = b"Connection: TE\r\nTE: trailers\r\n"
        asked.lines = b"%b %b HTTP/1.1\r\n%b%b%b%b" % (
            head.method,
            asked.target,
            client.lines(head.host),
            asked.trace.lines,
            passed,
            hop,
        )

    def _client_of(self, connection: ServerConnection, head: RequestHead) -> ClientHeaders:
        """Return who asks: the peer, or whom a trusted proxy names."""
        peer = connection.memo
        if not isinstance(peer, ClientHeaders):
            is_proxy = self._trusted.trusts(connection.address)
            connection.memo = peer = ClientHeaders(
                connection.address, connection.scheme, is_proxy=is_proxy
            )
        if not peer.is_proxy:
            return peer
        said = (head.get(b"x-forwarded-proto") or b"").lower()
        scheme = said.decode() if said in (b"http", b"https") else connection.scheme
        address = self._trusted.client_of(connection.address, head.get_all(b"x-forwarded-for"))
        return ClientHeaders(address, scheme)

    @staticmethod
    def _route(turns: LoadBalancer, head: RequestHead) -> RouteMatch:
        """Find the service. Raises NoRoute or MethodNotAllowed; Unavailable while those may be wrong."""
        match turns.routes.router.match(head.method.decode(), head.raw_path):
            case RouteMatch() as found:
                return found
            case _ if not turns.is_complete():
                raise _incomplete
            case NoSuchPath():
                raise NoRoute(f"No route matches {head.raw_path[:200]}.")
            case NoSuchMethod(allowed=allowed):
                methods = ", ".join(allowed)
                raise MethodNotAllowed(f"Allowed here: {methods}.", headers={"Allow": methods})

    def _preflight(
        self, connection: ServerConnection, asked: RequestContext, noted: Noted, origin: str
    ) -> Handler:
        assert self._inside is not None
        wanted = noted[b"access-control-request-method"].decode("latin-1")
        turns = self._inside.turns
        match = turns.routes.router.match(wanted, asked.head.raw_path)
        if not (isinstance(match, RouteMatch) or turns.is_complete()):
            raise _incomplete  # browsers remember what a preflight says
        methods = match.allowed if isinstance(match, NoSuchMethod) else (wanted,)
        fields = cors.preflight(asked.head.get(b"access-control-request-headers"), origin, methods)
        self._replies.send(connection, asked.head, 204, fields, b"", asked.trace.request_id)
        self._note(asked, 204)
        connection.finish()
        return NOTHING

    def _describe(self, connection: ServerConnection, asked: RequestContext) -> Handler:
        """Merge what the services say of themselves; that takes a while."""
        inside = self._inside
        assert inside is not None
        if not inside.turns.is_complete():
            raise _incomplete
        waiting = LocalRequest()

        async def describe() -> None:
            router = inside.turns.routes.router
            services = {match.service for _, match in router.routes()}
            documents = await openapi.collect(inside.http, inside.discovery, services)
            if waiting.is_gone:
                return
            body = openapi.render(openapi.merge(documents, router))
            fields = {"Content-Type": "application/json; charset=utf-8"}
            self._replies.send(
                connection, asked.head, 200, fields, body, asked.trace.request_id, asked.cors or b""
            )
            self._note(asked, 200)
            connection.finish()

        self.tasks.start(describe())
        return waiting

    def _problem(self, connection: ServerConnection, asked: RequestContext, error: BlogError) -> int:
        return self._replies.problem(
            connection, asked.head, error, asked.trace.request_id, asked.cors or b""
        )

    def _note(self, asked: RequestContext, status: int) -> None:
        self._records.note(asked, status, self._now() - asked.began)

    def __repr__(self) -> str:
        """Show whether it is open, and who is in it."""
        return f"<HTTPRequestHandler: {'open' if self._proxy else 'not open yet'}, {self.places!r}>"
