"""Client: one connection to an upstream. A request's bytes go out, its response comes back as events.

Responses are parsed as strictly as requests: an upstream that sends something malformed breaks its own
response, never the next one on the same connection.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from blog.core.errors import BlogError, Malformed
from blog.http.connection import Connection
from blog.http.framing import BodyReader, ChunkedBody, UntilClose, response_body
from blog.http.heads import END, ResponseHead, parse_response
from blog.http.limits import RESPONSE_HEAD_LIMIT
from blog.http.write_coalescer import WriteCoalescer

_BODILESS = frozenset({*range(100, 200), 204, 304})


class ResponseReceiver(Protocol):
    """What waits for the response."""

    def response_interim(self, head: ResponseHead) -> None:
        """Receive a 1xx response; the final one is still to come."""

    def response_complete(self, head: ResponseHead, body: bytes) -> None:
        """Receive a response that arrived in one piece (most do); the connection is free again."""

    def response_started(self, head: ResponseHead) -> None:
        """Receive the head of the final response; 101 hands the connection over (see `detach`)."""

    def response_data(self, data: bytes) -> None:
        """Receive a piece of its body."""

    def response_flushed(self) -> None:
        """Note that this is all that has arrived for now."""

    def response_ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Note that the response is complete; the connection is free again."""

    def response_failed(self, why: str) -> None:
        """Note that no more of it will arrive; the connection is closed."""

    def upstream_paused(self) -> None:
        """Stop sending the body: the upstream does not read as fast."""

    def upstream_resumed(self) -> None:
        """Continue sending."""


class ClientConnection(Connection):
    """One connection. `lost` is called with it when it closes while it is idle."""

    __slots__ = (
        "_body",
        "_buffer",
        "_head",
        "_keeps_alive",
        "_lost",
        "_method",
        "_receiver",
        "idle_since",
    )

    def __init__(self, lost: Callable[["ClientConnection"], None], coalescer: WriteCoalescer) -> None:
        super().__init__(coalescer)
        self.idle_since = 0.0
        """Monotonic seconds since when it waits for another request."""
        self._lost = lost
        self._receiver: ResponseReceiver | None = None
        self._method = b""
        self._buffer = b""
        self._body: BodyReader | None = None
        self._head: ResponseHead | None = None
        self._keeps_alive = True

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: the one before is over, both ways are open and free."""
        return (
            self._keeps_alive
            and self._receiver is None
            and self.is_reading
            and not (self.is_paused or self._out or self._buffer)
            and not self.transport.is_closing()
        )

    def send(self, receiver: ResponseReceiver, method: bytes, data: bytes) -> None:
        """Send a request's head, and as much of its body as there is."""
        self._receiver = receiver
        self._method = method
        self._body = None
        self.write(data)

    def abort(self) -> None:
        """Close at once; the receiver is not called any more."""
        self._receiver = None
        self._keeps_alive = False
        self._out = []
        self.transport.abort()

    def detach(self) -> bytes:
        """Leave the transport to another protocol; return what arrived after the head."""
        self._receiver = None
        self._keeps_alive = False
        self.flush()
        rest, self._buffer = self._buffer, b""
        return rest

    # -- what asyncio calls --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read what has arrived."""
        receiver = self._receiver
        if receiver is None:
            self.abort()  # no request was sent
            return
        try:
            if self._body is not None or self._buffer or not self._read_complete(receiver, data):
                self._read(receiver, data)
        except BlogError as error:
            if self._receiver is receiver:
                self._fail(f"not HTTP/1.1: {error.detail}")
            return
        if self._receiver is receiver:
            receiver.response_flushed()

    def eof_received(self) -> None:
        """End a body that ends with its connection; any other breaks when the connection is lost."""
        self._keeps_alive = False
        if self._receiver is not None and isinstance(self._body, UntilClose):
            self._end(self._receiver, [])

    def pause_writing(self) -> None:
        """Pause the receiver."""
        self.is_paused = True
        if self._receiver is not None:
            self._receiver.upstream_paused()

    def resume_writing(self) -> None:
        """Resume the receiver."""
        self.is_paused = False
        if self._receiver is not None:
            self._receiver.upstream_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the response, if one is awaited."""
        self._keeps_alive = False
        self._out = []
        if self._receiver is not None:
            why = f"the connection broke: {exc}" if exc else "the connection was closed"
            self._fail(why)
        else:
            self._lost(self)

    # -- reading -------------------------------------------------------------------------------------

    def _read_complete(self, receiver: ResponseReceiver, data: bytes) -> bool:
        """Read a response that is here completely, head and body; return whether it was."""
        end = data.find(END)
        if end < 0 or end > RESPONSE_HEAD_LIMIT:
            return False
        end += len(END)
        head = self._head = parse_response(data[:end], self._head)
        parsed = head.parsed
        if head.length != len(data) - end or head.status in _BODILESS or self._method == b"HEAD":
            return False
        self._receiver = None
        if not parsed.keeps_alive:
            self._keeps_alive = False
        receiver.response_complete(head, data[end:])
        return True

    def _read(self, receiver: ResponseReceiver, data: bytes) -> None:
        if self._body is None:
            data = self._buffer + data if self._buffer else data
            self._buffer = b""
            rest = self._read_head(receiver, data)
            if rest is None:
                return
            data = rest
        body = self._body
        assert body is not None
        piece, rest = body.feed(data)
        if piece:
            receiver.response_data(piece)
        if body.is_complete and self._receiver is receiver:
            if rest:
                self._keeps_alive = False  # more than was announced
            self._end(receiver, body.trailers if isinstance(body, ChunkedBody) else [])

    def _read_head(self, receiver: ResponseReceiver, data: bytes) -> bytes | None:
        """Read heads up to the final one; return what is after it, None if that is not for here."""
        while True:
            end = data.find(END)
            if (len(data) if end < 0 else end) > RESPONSE_HEAD_LIMIT:
                raise Malformed("the head is too large")
            if end < 0:
                self._buffer = data
                return None
            end += len(END)
            head = self._head = parse_response(data[:end], self._head)
            data = data[end:]
            if head.status >= HTTPStatus.OK:
                break
            if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                self._buffer = data
                receiver.response_started(head)
                return None
            receiver.response_interim(head)
            if self._receiver is not receiver:
                return None
        self._body = response_body(head, self._method)
        if not head.keeps_alive or isinstance(self._body, UntilClose):
            self._keeps_alive = False
        receiver.response_started(head)
        return data if self._receiver is receiver else None

    def _end(self, receiver: ResponseReceiver, trailers: list[tuple[bytes, bytes]]) -> None:
        self._receiver = None
        self._body = None
        receiver.response_ended(trailers)

    def _fail(self, why: str) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.response_failed(why)

    def __repr__(self) -> str:
        """Show whether it is in use."""
        return f"<ClientConnection {'busy' if self._receiver else 'idle'}>"
