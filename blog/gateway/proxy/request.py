"""Exchange: one request, until its answer is sent. Body → turn → send → retry, or pass back.

What may be sent again is decided in `retry`, who gets it in `turns`; here is what is done when. No
task is made for it: every step is a call from one connection or the other.
"""

from typing import TYPE_CHECKING

from blog.core.errors import BadGateway, BlogError, GatewayTimeout, Malformed, Unavailable
from blog.gateway.edge.request_context import RequestContext
from blog.gateway.proxy.body import RequestBody
from blog.gateway.proxy.forward import ResponseForwarder, whole_head
from blog.gateway.proxy.tunnel import Tunnel
from blog.gateway.upstream.upstreams import Upstream
from blog.http.client import ClientConnection
from blog.http.heads import ResponseHead
from blog.http.limits import IDLE_TIMEOUT, LINGER_TIMEOUT
from blog.http.responses import connection_line
from blog.http.server import ServerConnection

if TYPE_CHECKING:
    from blog.gateway.proxy.context import ProxyContext

CLIENT_GONE = 499
"""nginx's word for a client that went away before its answer."""
_MISDIRECTED = 421
_SWITCHING = 101
_AGAIN = {"Retry-After": "1"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ProxiedRequest:
    """Answers `asked` over `client`, by instances."""

    __slots__ = (
        "_asked",
        "_body",
        "_by",
        "_client",
        "_connection",
        "_failure",
        "_is_over",
        "_proxy",
        "_relay",
        "_status",
        "_target",
        "_tried",
        "_tunnel",
        "due",
    )

    def __init__(
        self, proxy: "ProxyContext", client: ServerConnection, asked: RequestContext, body: RequestBody
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._asked = asked
        self._body = body
        self._target: Upstream | None = None
        self._by: Upstream | None = None
        self._connection: ClientConnection | None = None
        self._relay: ResponseForwarder | None = None
        self._tunnel: Tunnel | None = None
        self._failure: BlogError | None = None
        self._tried: tuple[str, ...] = ()
        self.due = float("inf")
        """Monotonic seconds at which it has taken too long."""
        self._is_over = False
        self._status = 0

    def begin(self, *, expects: bool) -> None:
        """Begin: wait for a small body, or ask an instance at once. `expects`: a 100 (Continue)."""
        if not self._body.is_whole:
            if expects:
                self._client.write(_CONTINUE)
            self._wait(IDLE_TIMEOUT)
            if self._body.waits:
                return
        self._attempt()

    # -- the client's side ---------------------------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """Keep a piece of the request's body, or send it on."""
        waited = self._body.waits
        connection = self._connection
        try:
            piece = self._body.came(data, is_flowing=connection is not None)
        except BlogError as error:
            self._give_up(error)
            return
        if connection is not None:
            self._wait(IDLE_TIMEOUT)
            connection.write(piece)
        elif waited and not self._body.waits:
            self._attempt()

    def body_ended(self) -> None:
        """Ask an instance, or end what it is being sent."""
        waited = self._body.waits
        ending = self._body.ended()
        if self._connection is not None:
            if ending:
                self._connection.write(ending)
            if self._relay is None:
                self._wait(self._proxy.response_timeout(self._asked.match))
        elif waited:
            self._attempt()

    def body_failed(self, error: BlogError) -> None:
        """Give up: what the instance has got is not what the client meant."""
        self._give_up(error)

    def client_paused(self) -> None:
        """Read no more from the instance for now: only what comes after the answer has begun is much."""
        if self._connection is not None and self._relay is not None and self._relay.is_started:
            self._connection.pause_reading()

    def client_resumed(self) -> None:
        """Read on."""
        if self._connection is not None:
            self._connection.resume_reading()

    def client_gone(self) -> None:
        """Give up; the instance sees its connection close."""
        if not self._is_over:
            self._drop_connection()
            self._leave_target()
            self._done(self._status if self._relay is not None else CLIENT_GONE)

    # -- the instance's side -------------------------------------------------------------------------

    def connected(self, target: Upstream, connection: ClientConnection) -> bool:
        """Send the request, unless it is not wanted there any more."""
        if self._is_over or target is not self._target or self._connection is not None:
            return False
        self._connection = connection
        framing, here = self._body.start()
        asked = self._asked
        proxy = self._proxy
        self._wait(proxy.response_timeout(asked.match) if self._body.is_whole else IDLE_TIMEOUT)
        connection.send(
            self, asked.head.method, b"%b%b%b\r\n%b" % (asked.lines, target.meant, framing, here)
        )
        if not connection.is_paused:  # a large piece is written at once, and may be too much already
            self._client.resume_body()
        return True

    def not_connected(self, target: Upstream, why: str) -> None:
        """Ask the next one: this one has got nothing."""
        if target is self._target and not self._is_over:
            self._never_sent(target, why)

    def response_interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on; 100 was the gateway's own to say."""
        if head.status > _SWITCHING and not self._asked.head.is_http_1_0 and not self._client.is_paused:
            fields = b"".join(b"%b: %b\r\n" % (name, value) for _, name, value in head.fields)
            self._client.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, fields))

    def response_complete(self, head: ResponseHead, body: bytes) -> None:
        """Pass an answer on in one piece: most are small."""
        target, connection, asked, proxy = self._target, self._connection, self._asked, self._proxy
        assert target is not None
        assert connection is not None
        if head.status == _MISDIRECTED or asked.cors is not None or not self._body.is_whole:
            self.response_started(head)
            if self._relay is not None:
                self._relay.came(body)
                self.response_ended([])
            return
        self._connection = None
        self._by = target
        proxy.upstream.give_back(target, connection)
        proxy.turns.answered(target, head.status)
        self._leave_target()
        client = self._client
        client.write(
            b"".join(
                (
                    whole_head(head),
                    proxy.lines(asked, target),
                    connection_line(client, asked.head),
                    body,
                )
            )
        )
        self._finish(head.status)

    def response_started(self, head: ResponseHead) -> None:
        """Take the head of the answer."""
        target, asked = self._target, self._asked
        assert target is not None
        if head.status == _MISDIRECTED:
            self._drop_connection()
            self._never_sent(target, "another instance answers at its address (421)")
            return
        if head.status == _SWITCHING and not asked.upgrade:
            self._drop_connection()
            self.response_failed("it switches protocols unasked")
            return
        if not self._body.is_whole:
            # the answer comes before the end of the question: its connection is good for no other
            self._client.keeps_alive = False
        self._by, self._status = target, head.status
        self._relay = ResponseForwarder(
            self._client,
            asked.head,
            head,
            self._proxy.lines(asked, target),
            holds=asked.is_retryable and self._body.is_kept,
            drops_cors=asked.cors is not None,
        )
        if head.status == _SWITCHING:
            self._switch(self._relay)
        elif self._relay.is_stream:
            self._proxy.stream_began(self, asked)

    def response_data(self, data: bytes) -> None:
        """Take a piece of it."""
        assert self._relay is not None
        self._relay.came(data)

    def response_flushed(self) -> None:
        """Send what is better not held."""
        if self._relay is not None:
            self._relay.flush()
            if self._relay.is_started:
                self._wait(IDLE_TIMEOUT)
                if self._client.is_paused:  # by an answer before this one
                    self.client_paused()

    def response_ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the rest; the connection is free for another request."""
        relay, target, connection = self._relay, self._target, self._connection
        assert relay is not None
        assert target is not None
        assert connection is not None
        self._connection = None
        if self._body.is_whole:
            self._proxy.upstream.give_back(target, connection)
        else:
            connection.abort()
        self._proxy.turns.answered(target, relay.head.status)
        self._leave_target()
        relay.end(trailers if self._asked.wants_trailers else [])
        self._finish(relay.head.status)

    def response_failed(self, why: str) -> None:
        """Ask another one where that is allowed; break off where the client has got a part of it."""
        target, body = self._target, self._body
        assert target is not None
        self._connection = None
        self._proxy.turns.broke(target, why)
        self._leave_target()
        if self._relay is not None and self._relay.is_started:
            self._client.abort()
            self._done(self._status)
            return
        self._relay = None
        service = self._asked.match.service
        self._failure = BadGateway(f"The instance of {service} broke off.", service=service)
        may_repeat = self._asked.is_retryable and body.is_kept and self._proxy.retries
        if may_repeat and self._proxy.turns.may_repeat():
            self._attempt()
        else:
            self._give_up(self._failure)

    def upstream_paused(self) -> None:
        """Read no more of the client's body for now."""
        self._client.pause_body()

    def upstream_resumed(self) -> None:
        """Read on."""
        self._client.resume_body()

    # -- what the proxy calls ------------------------------------------------------------------------

    @property
    def target(self) -> Upstream | None:
        """Who is asked now."""
        return self._target

    def report_unhealthy(self) -> None:
        """Ask another one, if it may: the instance is suspect or lost, and has not answered."""
        started = self._relay is not None and self._relay.is_started
        if self._asked.is_retryable and self._body.is_kept and not started and self._connection:
            self._drop_connection()
            self.response_failed("it is suspect or lost, and has not answered")

    def is_late(self) -> None:
        """Give up on an instance that does not answer, or on a body that does not come."""
        target = self._target
        if self._tunnel is not None:
            self._tunnel.expire()
            self._wait(LINGER_TIMEOUT)
        elif self._relay is not None and self._relay.is_started:
            self._client.abort()
        elif target is None or not self._body.is_whole:
            self._give_up(Malformed("The body did not come."))
        else:
            service = target.instance.service
            self._proxy.turns.broke(target, "it did not answer in time")
            self._give_up(GatewayTimeout(f"{service} did not answer in time.", service=service))

    def end_stream(self) -> None:
        """End an endless answer, cleanly: the gateway drains."""
        if self._tunnel is not None:
            self._tunnel.close()
        elif not self._is_over and self._relay is not None:
            self._drop_connection()
            self._leave_target()
            self._client.keeps_alive = False
            self._relay.end([])
            self._finish(self._status)

    # -- steps ---------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        """Ask the instance whose turn it is."""
        proxy = self._proxy
        target = proxy.turns.next(self._asked.match.service, self._tried, proxy.now())
        if target is None:
            self._give_up(self._failure or self._unavailable())
            return
        self._tried += (target.instance.id,)
        self._target = target
        proxy.turns.targets.take(target)
        if not self._body.is_whole:
            self._client.pause_body()  # until there is somebody to send it to
        proxy.upstream.get(target, self)

    def _never_sent(self, target: Upstream, why: str) -> None:
        self._proxy.turns.not_reached(target, why)
        self._leave_target()
        self._failure = self._unavailable()
        if self._body.is_kept and self._proxy.retries:
            self._attempt()
        else:
            self._give_up(self._failure)

    def _give_up(self, error: BlogError) -> None:
        """Answer with a problem, or break off when an answer has begun."""
        self._drop_connection()
        self._leave_target()
        if self._relay is not None and self._relay.is_started:
            self._client.abort()
            self._done(self._status)
            return
        status = self._proxy.reply(self._client, self._asked, error)
        self._finish(status)

    def _finish(self, status: int) -> None:
        self._done(status)
        self._client.finish()

    def _done(self, status: int) -> None:
        """Say what became of it, once."""
        self._is_over = True
        self._proxy.done(self, self._asked, status, self._by)

    def _leave_target(self) -> None:
        target = self._target
        if target is not None:
            self._target = None
            self._proxy.turns.targets.give_back(target)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _wait(self, seconds: float) -> None:
        """Have so long for what comes next."""
        self.due = self._proxy.now() + seconds

    def _switch(self, relay: ResponseForwarder) -> None:
        """Join the two connections: what passes from here on is not HTTP."""
        connection, self._connection = self._connection, None
        assert connection is not None
        relay.switch(self._asked.upgrade)
        self._tunnel = Tunnel(
            self._client, connection, touched=lambda: self._wait(IDLE_TIMEOUT), ended=self._tunnel_ended
        )
        self._proxy.stream_began(self, self._asked)
        self._wait(IDLE_TIMEOUT)
        self._tunnel.open()

    def _tunnel_ended(self) -> None:
        self._proxy.places.leave(self._client)
        self._leave_target()
        self._done(_SWITCHING)

    def _unavailable(self) -> Unavailable:
        service = self._asked.match.service
        return Unavailable(
            f"No instance of {service} can be reached now; try again.", headers=_AGAIN, service=service
        )
