"""Server: one client's connection. Bytes → heads and bodies, in order; responses go back the same way.

What a request means is up to the application. Here is what every port owes its clients: nothing
ambiguous gets in, no client keeps a connection by being slow, and requests are answered in order.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from blog.core.errors import BlogError, Malformed, TooSlow
from blog.core.net.peer import remote_host
from blog.http.application import Application, Handler
from blog.http.connection import Connection
from blog.http.connection_limits import ConnectionLimiter
from blog.http.framing import NO_BODY, BodyReader, request_body
from blog.http.heads import END, RequestHead, parse_request
from blog.http.limits import HEAD_LIMIT
from blog.http.parser import prefix_error
from blog.http.write_coalescer import WriteCoalescer

CR = ord("\r")


class ServerConnection(Connection):
    """One connection. `keeps_alive`: whether another request may follow the current one."""

    __slots__ = (
        "_application",
        "_body",
        "_buffer",
        "_handler",
        "_head",
        "_is_advancing",
        "_is_awaiting_head",
        "_is_closing",
        "_is_responding",
        "_limiter",
        "_now",
        "address",
        "application_state",
        "idle_since",
        "keeps_alive",
        "scheme",
    )

    def __init__(
        self,
        application: Application["ServerConnection"],
        limiter: ConnectionLimiter["ServerConnection"],
        now: Callable[[], float],
        coalescer: WriteCoalescer,
    ) -> None:
        super().__init__(coalescer)
        self.address = "unknown"
        self.scheme = "http"
        self.keeps_alive = True
        self.idle_since: float | None = None
        """Monotonic seconds since when it waits for another request; None when it does not."""
        self.application_state: object = None
        """What the application keeps with the connection."""
        self._application = application
        self._limiter = limiter
        self._now = now
        self._buffer = b""
        self._body: BodyReader = NO_BODY
        self._handler: Handler | None = None
        self._head: RequestHead | None = None
        self._is_responding = False
        self._is_advancing = False
        self._is_closing = False
        self._is_awaiting_head = True

    # -- what asyncio calls --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, or be refused."""
        super().connection_made(transport)
        self.address = remote_host(self.transport) or "local"
        if self.transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        if refusal := self._limiter.acquire(self, self._now()):
            self._refuse(refusal)

    def data_received(self, data: bytes) -> None:
        """Read what has arrived."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_advancing:
            self._advance()

    def eof_received(self) -> None:
        """Close: a client that sends nothing more counts as gone, as in nginx."""
        self.flush()
        self._abandon()
        self._limiter.start_closing(self, self._now())

    def pause_writing(self) -> None:
        """Pause the handler."""
        self.is_paused = True
        if self._handler is not None:
            self._handler.client_paused()

    def resume_writing(self) -> None:
        """Resume the handler, or go on to the next request."""
        self.is_paused = False
        if self._handler is not None:
            self._handler.client_resumed()
        elif not self._is_responding:
            self.resume_reading()
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Abandon the request."""
        self._out = []
        self._limiter.release(self)
        self._abandon()

    def _abandon(self) -> None:
        self._is_closing = True
        self._buffer = b""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.client_gone()

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests, and nothing of the next one has arrived."""
        return not (self._buffer or self._is_responding or self._is_closing)

    # -- what the application calls ------------------------------------------------------------------

    def resume_reading(self) -> None:
        """Continue reading, unless the connection closes."""
        if not (self.is_reading or self._is_closing):
            self.is_reading = True
            self.transport.resume_reading()

    def discard_body(self) -> None:
        """Ignore what has arrived of the body. If that is not all, the response is the last one here."""
        if self._body.is_complete:
            return
        data, self._buffer = self._buffer, b""
        with suppress(Malformed):
            self._buffer = self._body.feed(data)[1]
        if not self._body.is_complete:
            self.keeps_alive = False

    def finish(self) -> None:
        """End the response: go on to the next request, or close."""
        self._is_responding = False
        self._handler = None
        if self._is_closing:
            return
        if not self._body.is_complete:
            self._close_lingering()
        elif not self.keeps_alive:
            self.close()
        else:
            self.idle_since = self._now()
            if not self.is_reading:
                self.resume_reading()
            if self._buffer and not self._is_advancing:
                self._advance()

    def detach(self) -> bytes:
        """Leave the transport to another protocol; return what was read and is not used up.

        The limiter counts the connection until `ConnectionLimiter.release`.
        """
        self._is_closing = True
        self._handler = None
        self.flush()
        rest, self._buffer = self._buffer, b""
        return rest

    def close(self) -> None:
        """Close once everything is sent."""
        self._is_closing = True
        self.flush()
        self.transport.close()
        self._limiter.start_closing(self, self._now())

    def abort(self) -> None:
        """Close at once, so that a client cannot take an incomplete response for a complete one."""
        self._is_closing = True
        self._out = []
        self.transport.abort()

    # -- what the limiter calls ----------------------------------------------------------------------

    def head_timed_out(self) -> None:
        """Respond with 408 if a request has begun, else just close (RFC 9110 §15.5.9)."""
        if self._buffer:
            self._refuse(TooSlow("The request's head did not come in time."))
        else:
            self.abort()  # nothing was sent; over TLS closing would wait for the client

    # -- reading -------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Process the buffer as far as possible."""
        self._is_advancing = True
        try:
            go_on = True
            while self._buffer and go_on:
                if self._is_closing:
                    self._buffer = b""
                elif not self._is_responding and not self.is_paused:
                    go_on = self._read_head()
                elif not self._body.is_complete:
                    go_on = self._read_body()
                else:
                    go_on = False
                    if len(self._buffer) > HEAD_LIMIT:
                        self.pause_reading()  # more pipelined requests than are worth buffering
        finally:
            self._is_advancing = False

    def _read_head(self) -> bool:
        data = self._buffer
        if data[0] == CR and data.startswith(b"\r\n"):
            data = self._buffer = data[2:]  # an empty line before a request is ignored (RFC 9112 §2.2)
        end = data.find(END)
        if end < 0 or end > HEAD_LIMIT:
            return self._wait_for_head(data)
        end += len(END)
        if end == len(data):
            self._buffer = b""
        else:
            data, self._buffer = data[:end], data[end:]
        self.idle_since = None
        if self._is_awaiting_head:
            self._is_awaiting_head = False
            self._limiter.awaiting_head.cancel(self)
        try:
            head = self._head = parse_request(data, self._head)
        except BlogError as error:
            self._refuse(error)
            return False
        parsed = head.parsed
        self.keeps_alive = parsed.keeps_alive and not self._limiter.is_closing
        self._body = request_body(head) if parsed.has_body else NO_BODY
        self._is_responding = True
        handler = self._application.begin(self, head)
        if self._is_responding:
            self._handler = handler
        return True

    def _wait_for_head(self, data: bytes) -> bool:
        """Wait for the rest, unless a valid head cannot begin like this."""
        if refusal := prefix_error(data):
            self._refuse(refusal)
        elif data and not self._is_awaiting_head:
            self._is_awaiting_head = True
            self.idle_since = None
            self._limiter.awaiting_head.start(self, self._now())
        return False

    def _read_body(self) -> bool:
        data, self._buffer = self._buffer, b""
        handler = self._handler
        if handler is None:
            return False
        try:
            piece, self._buffer = self._body.feed(data)
        except Malformed as error:
            self.keeps_alive = False
            handler.body_failed(error)
            return False
        if piece:
            handler.body_data(piece)
        if self._body.is_complete and self._handler is handler:
            handler.body_ended()
        return True

    # -- closing -------------------------------------------------------------------------------------

    def _refuse(self, error: BlogError) -> None:
        self.keeps_alive = False
        self._is_responding = True
        self._application.refuse(self, error)
        self._is_responding = False
        self._close_lingering()

    def _close_lingering(self) -> None:
        """Close so that the client can still read what was sent to it (RFC 9112 §9.6)."""
        if self._is_closing:
            return
        self.resume_reading()
        self._is_closing = True
        self._buffer = b""
        self._close_writing()
        self._limiter.start_lingering(self, self._now())

    def __repr__(self) -> str:
        """Show the client and the state."""
        state = "closing" if self._is_closing else "responding" if self._is_responding else "idle"
        return f"<ServerConnection of {self.address}: {state}, {len(self._buffer)} bytes buffered>"
