"""Proxied request: one request, until its response is sent. Body → select → send → retry, or forward.

What may be sent again is decided in `retry`, which upstream gets it in `balancer`; here is what is done
when. No task is made for it: every step is a call from one connection or the other.
"""

from blog.core.errors import BlogError, Malformed
from blog.gateway.proxy import failures
from blog.gateway.proxy.body import RequestBody
from blog.gateway.proxy.context import ProxyContext
from blog.gateway.proxy.forward import ResponseForwarder, complete_head
from blog.gateway.proxy.request_context import RequestContext
from blog.gateway.proxy.tunnel import Tunnel
from blog.gateway.upstream.upstreams import Upstream
from blog.http.application import Handler
from blog.http.client import ClientConnection
from blog.http.heads import ResponseHead
from blog.http.limits import IDLE_TIMEOUT, LINGER_TIMEOUT
from blog.http.responses import connection_line
from blog.http.server import ServerConnection

CLIENT_GONE = 499
"""nginx's status for a client that went away before its response."""
_MISDIRECTED = 421
_SWITCHING = 101
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ProxiedRequest(Handler):
    """Responds to `context` over `client`, by upstreams."""

    __slots__ = (
        "_body",
        "_client",
        "_connection",
        "_context",
        "_failure",
        "_forwarder",
        "_is_done",
        "_proxy",
        "_served_by",
        "_status",
        "_tried",
        "_tunnel",
        "_upstream",
        "deadline",
    )

    def __init__(
        self, proxy: ProxyContext, client: ServerConnection, context: RequestContext, body: RequestBody
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._context = context
        self._body = body
        self._upstream: Upstream | None = None
        self._served_by: Upstream | None = None
        self._connection: ClientConnection | None = None
        self._forwarder: ResponseForwarder | None = None
        self._tunnel: Tunnel | None = None
        self._failure: BlogError | None = None
        self._tried: tuple[str, ...] = ()
        self.deadline = float("inf")
        """Monotonic seconds at which it has taken too long."""
        self._is_done = False
        self._status = 0

    def begin(self, *, expects_continue: bool) -> None:
        """Begin: wait for a small body, or send it at once. `expects_continue`: send a 100 first."""
        if not self._body.is_complete:
            if expects_continue:
                self._client.write(_CONTINUE)
            self._set_deadline(IDLE_TIMEOUT)
            if self._body.is_buffering:
                return
        self._attempt()

    # -- the client's side ---------------------------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """Keep a piece of the request's body, or forward it."""
        was_buffering = self._body.is_buffering
        connection = self._connection
        try:
            piece = self._body.add(data, is_streaming=connection is not None)
        except BlogError as error:
            self._fail(error)
            return
        if connection is not None:
            self._set_deadline(IDLE_TIMEOUT)
            connection.write(piece)
        elif was_buffering and not self._body.is_buffering:
            self._attempt()

    def body_ended(self) -> None:
        """Send the request, or end it where it is being sent."""
        was_buffering = self._body.is_buffering
        ending = self._body.end()
        if self._connection is not None:
            if ending:
                self._connection.write(ending)
            if self._forwarder is None:
                self._set_deadline(self._proxy.response_timeout(self._context.match))
        elif was_buffering:
            self._attempt()

    def body_failed(self, error: BlogError) -> None:
        """Give up: what the upstream has received is not what the client meant."""
        self._fail(error)

    def client_paused(self) -> None:
        """Read no more from the upstream for now; until the response has started, it is little anyway."""
        if self._connection is not None and self._has_started:
            self._connection.pause_reading()

    def client_resumed(self) -> None:
        """Continue reading."""
        if self._connection is not None:
            self._connection.resume_reading()

    def client_gone(self) -> None:
        """Give up; the upstream sees its connection close."""
        if not self._is_done:
            self._abort_connection()
            self._release_upstream()
            self._done(self._status if self._forwarder is not None else CLIENT_GONE)

    # -- the upstream's side -------------------------------------------------------------------------

    def connected(self, upstream: Upstream, connection: ClientConnection) -> bool:
        """Send the request, unless it is over or goes to another upstream now."""
        if self._is_done or upstream is not self._upstream or self._connection is not None:
            return False
        self._connection = connection
        framing, here = self._body.start()
        context = self._context
        proxy = self._proxy
        self._set_deadline(
            proxy.response_timeout(context.match) if self._body.is_complete else IDLE_TIMEOUT
        )
        data = b"%b%b%b\r\n%b" % (context.lines, upstream.instance_line, framing, here)
        connection.send(self, context.head.method, data)
        if not connection.is_paused:  # a large piece is written at once, and may be too much already
            self._client.resume_reading()
        return True

    def connect_failed(self, upstream: Upstream, why: str) -> None:
        """Try the next upstream: this one has received nothing."""
        if upstream is self._upstream and not self._is_done:
            self._retry_unsent(upstream, why)

    def response_interim(self, head: ResponseHead) -> None:
        """Forward a 1xx; 100 was sent by the gateway itself."""
        if head.status > _SWITCHING and not self._context.head.is_http_1_0 and not self._client.is_paused:
            fields = b"".join(b"%b: %b\r\n" % (name, value) for _, name, value in head.fields)
            self._client.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, fields))

    def response_complete(self, head: ResponseHead, body: bytes) -> None:
        """Forward a response in one piece: most are small."""
        upstream, connection = self._upstream, self._connection
        context, proxy = self._context, self._proxy
        assert upstream is not None
        assert connection is not None
        if head.status == _MISDIRECTED or context.cors is not None or not self._body.is_complete:
            self.response_started(head)
            if self._forwarder is not None:
                self._forwarder.add(body)
                self.response_ended([])
            return
        self._connection = None
        self._served_by = upstream
        proxy.pool.release(upstream, connection)
        proxy.balancer.record_response(upstream, head.status)
        self._release_upstream()
        client = self._client
        client.write(
            b"".join(
                (
                    complete_head(head),
                    proxy.response_lines(context, upstream),
                    connection_line(client, context.head),
                    body,
                )
            )
        )
        self._finish(head.status)

    def response_started(self, head: ResponseHead) -> None:
        """Receive the head of the response."""
        upstream, context = self._upstream, self._context
        assert upstream is not None
        if head.status == _MISDIRECTED:
            self._abort_connection()
            self._retry_unsent(upstream, "another instance has its address now (421)")
            return
        if head.status == _SWITCHING and not context.upgrade:
            self._abort_connection()
            self.response_failed("it switched protocols unasked")
            return
        if not self._body.is_complete:
            # the response arrives before the end of the request: its connection is good for no other
            self._client.keeps_alive = False
        self._served_by, self._status = upstream, head.status
        self._forwarder = ResponseForwarder(
            self._client,
            context.head,
            head,
            self._proxy.response_lines(context, upstream),
            is_buffered=context.is_retryable and self._body.is_replayable,
            without_cors=context.cors is not None,
        )
        if head.status == _SWITCHING:
            self._open_tunnel(self._forwarder)
        elif self._forwarder.is_stream:
            self._proxy.stream_started(self, context)

    def response_data(self, data: bytes) -> None:
        """Receive a piece of its body."""
        assert self._forwarder is not None
        self._forwarder.add(data)

    def response_flushed(self) -> None:
        """Send what need not be buffered."""
        if self._forwarder is not None:
            self._forwarder.flush()
            if self._forwarder.is_started:
                self._set_deadline(IDLE_TIMEOUT)
                if self._client.is_paused:  # by a response before this one
                    self.client_paused()

    def response_ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the rest; the connection is free for another request."""
        forwarder, upstream, connection = self._forwarder, self._upstream, self._connection
        assert forwarder is not None
        assert upstream is not None
        assert connection is not None
        self._connection = None
        if self._body.is_complete:
            self._proxy.pool.release(upstream, connection)
        else:
            connection.abort()
        self._proxy.balancer.record_response(upstream, forwarder.head.status)
        self._release_upstream()
        forwarder.end(trailers if self._context.wants_trailers else [])
        self._finish(forwarder.head.status)

    def response_failed(self, why: str) -> None:
        """Retry where that is allowed; close where the client has received a part of the response."""
        upstream, body = self._upstream, self._body
        assert upstream is not None
        self._connection = None
        self._proxy.balancer.record_failure(upstream, why)
        self._release_upstream()
        if self._has_started:
            self._abort_client()
            return
        self._forwarder = None
        self._failure = failures.broken_off(self._context.match.service)
        may_retry = self._context.is_retryable and body.is_replayable and self._proxy.retries
        if may_retry and self._proxy.balancer.try_spend_retry():
            self._attempt()
        else:
            self._fail(self._failure)

    def upstream_paused(self) -> None:
        """Read no more of the client's body for now."""
        self._client.pause_reading()

    def upstream_resumed(self) -> None:
        """Continue reading."""
        self._client.resume_reading()

    # -- what the proxy calls ------------------------------------------------------------------------

    @property
    def upstream(self) -> Upstream | None:
        """The upstream that has the request now."""
        return self._upstream

    def upstream_suspected(self) -> None:
        """Try another upstream, if allowed: this one is suspect or lost, and has not responded."""
        may_retry = self._context.is_retryable and self._body.is_replayable
        if may_retry and not self._has_started and self._connection:
            self._abort_connection()
            self.response_failed("it is suspect or lost, and has not responded")

    def time_out(self) -> None:
        """Give up on an upstream that does not respond, or on a body that does not arrive."""
        upstream = self._upstream
        if self._tunnel is not None:
            self._tunnel.expire()
            self._set_deadline(LINGER_TIMEOUT)
        elif self._has_started:
            self._client.abort()
        elif upstream is None or not self._body.is_complete:
            self._fail(Malformed("The request's body did not arrive in time."))
        else:
            self._proxy.balancer.record_failure(upstream, "it did not respond in time")
            self._fail(failures.timed_out(upstream.instance.service))

    def end_stream(self) -> None:
        """End a response that does not end by itself, cleanly: the gateway drains."""
        if self._tunnel is not None:
            self._tunnel.close()
        elif not self._is_done and self._forwarder is not None:
            self._abort_connection()
            self._release_upstream()
            self._client.keeps_alive = False
            self._forwarder.end([])
            self._finish(self._status)

    # -- steps ---------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        """Send the request to the upstream that the balancer selects."""
        proxy = self._proxy
        upstream = proxy.balancer.select(self._context.match.service, self._tried, proxy.now())
        if upstream is None:
            self._fail(self._failure or failures.unreachable(self._context.match.service))
            return
        self._tried += (upstream.instance.id,)
        self._upstream = upstream
        proxy.balancer.upstreams.acquire(upstream)
        if not self._body.is_complete:
            self._client.pause_reading()  # until there is a connection to send it over
        proxy.pool.acquire(upstream, self)

    def _retry_unsent(self, upstream: Upstream, why: str) -> None:
        self._proxy.balancer.record_unreachable(upstream, why)
        self._release_upstream()
        self._failure = failures.unreachable(self._context.match.service)
        if self._body.is_replayable and self._proxy.retries:
            self._attempt()
        else:
            self._fail(self._failure)

    def _fail(self, error: BlogError) -> None:
        """Respond with a problem, or close if a response has started."""
        self._abort_connection()
        self._release_upstream()
        if self._has_started:
            self._abort_client()
        else:
            self._finish(self._proxy.send_problem(self._client, self._context, error))

    @property
    def _has_started(self) -> bool:
        """Whether the client has received a part of the response."""
        return self._forwarder is not None and self._forwarder.is_started

    def _abort_client(self) -> None:
        self._client.abort()
        self._done(self._status)

    def _finish(self, status: int) -> None:
        self._done(status)
        self._client.finish()

    def _done(self, status: int) -> None:
        """Record the outcome, once."""
        self._is_done = True
        self._proxy.done(self, self._context, status, self._served_by)

    def _release_upstream(self) -> None:
        upstream = self._upstream
        if upstream is not None:
            self._upstream = None
            self._proxy.balancer.upstreams.release(upstream)

    def _abort_connection(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _set_deadline(self, seconds: float) -> None:
        """Allow so long for what comes next."""
        self.deadline = self._proxy.now() + seconds

    def _open_tunnel(self, forwarder: ResponseForwarder) -> None:
        """Join the two connections: what passes from here on is not HTTP."""
        connection, self._connection = self._connection, None
        assert connection is not None
        forwarder.switch(self._context.upgrade)
        self._tunnel = Tunnel(
            self._client,
            connection,
            on_data=lambda: self._set_deadline(IDLE_TIMEOUT),
            on_end=self._tunnel_ended,
        )
        self._proxy.stream_started(self, self._context)
        self._set_deadline(IDLE_TIMEOUT)
        self._tunnel.open()

    def _tunnel_ended(self) -> None:
        self._proxy.limiter.release(self._client)
        self._release_upstream()
        self._done(_SWITCHING)
