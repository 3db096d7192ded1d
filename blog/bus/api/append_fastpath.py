"""Append fast path: `POST /events` without a task and without a framework: most requests of the bus.

It has the connections of the port first. One that asks for anything else, or comes while this instance
must not respond, is handed over to aiohttp and the bus's routes, and stays there.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from urllib.parse import parse_qsl

from multidict import MultiDict

from blog.bus.api.append_request import read_append
from blog.bus.log.log import EventLog
from blog.core.clock import Clock
from blog.core.errors import BlogError, TooLarge, status_of
from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.net.codings import must_be_plain
from blog.core.web import (
    PROBLEM_TYPE,
    expectation_failed,
    misdirected,
    problem_body,
    unsupported,
)
from blog.eventlog.wire import APPEND_TYPES, LOG_HEADER, MAX_BODY, Appended, encode_appended
from blog.http.application import Handler
from blog.http.connection_limits import ConnectionLimiter
from blog.http.heads import RequestHead
from blog.http.responses import NO_HEAD, DateLine, write_response
from blog.http.server import ServerConnection
from blog.http.write_coalescer import WriteCoalescer
from blog.lifecycle.member import Member

MAX_CONNECTIONS = 10_000
"""Connections at the same time, from one address or many: clients are instances of this blog."""

_PATH = "/events"
_APPENDS = (b"POST /events ", b"POST /events?")
_NO_QUERY: MultiDict[str] = MultiDict()


class AppendFastPath:
    """The `FastPath` of the bus's member, and the application of its own connections."""

    def __init__(self, event_log: EventLog, policy: AccessPolicy, clock: Clock) -> None:
        self.log = event_log
        self.limiter: ConnectionLimiter[ServerConnection] = ConnectionLimiter(
            MAX_CONNECTIONS, MAX_CONNECTIONS
        )
        self.member: Member | None = None
        self._policy = policy
        self._now = clock.monotonic
        self._date = DateLine(clock.now)
        self._log_field = f"{LOG_HEADER}: {event_log.identity}\r\n".encode()
        self._coalescer = WriteCoalescer(asyncio.get_running_loop())
        self._fallback: Callable[[], asyncio.Protocol]

    def open(self, member: Member) -> None:
        """Respond to appends from now on, as `member`."""
        self.member = member

    # -- FastPath --------------------------------------------------------------------------------------

    def wrap(self, fallback: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return the factory of a connection's protocol; `fallback` is that of aiohttp's protocol."""
        self._fallback = fallback
        return lambda: FastPathConnection(self, self._now, self._coalescer)

    def sweep(self) -> None:
        """Close the connections whose time is up."""
        self.limiter.sweep(self._now())

    def close(self) -> None:
        """Close idle connections, abort the others."""
        self.limiter.close_idle()
        self.limiter.abort_all()

    # -- Application -----------------------------------------------------------------------------------

    def accepts(self, data: bytes) -> bool:
        """Return whether a request that begins like this is an append, and may be responded to."""
        member = self.member
        return member is not None and member.health.running.is_set() and data.startswith(_APPENDS)

    def hand_over(self, connection: ServerConnection, data: bytes) -> None:
        """Leave the connection to aiohttp, from the request that begins with `data`."""
        connection.detach()
        self.limiter.release(connection)
        transport, protocol = connection.transport, self._fallback()
        transport.set_write_buffer_limits()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if connection.is_paused:
            protocol.pause_writing()  # the transport will only say when to resume
        protocol.data_received(data)

    def begin(self, connection: ServerConnection, head: RequestHead) -> "FastAppend":
        """Begin to handle a request."""
        if head.method != b"POST" or head.raw_path != _PATH:
            # pipelined after an append: without a response, it is sent again on another connection
            connection.close()
            return FastAppend(self, connection, head, is_over=True)
        self.count(1)
        request = FastAppend(self, connection, head)
        if not request.check_head() or not head.has_body:
            request.body_ended()
        elif head.get(b"expect") and not head.is_http_1_0:
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def refuse(self, connection: ServerConnection, error: BlogError) -> None:
        """Respond to what is not a valid request."""
        self.respond_problem(connection, NO_HEAD, error)

    def count(self, difference: int) -> None:
        """Count the requests that draining waits for: `difference` more."""
        assert self.member is not None
        self.member.health.requests.add(difference)

    def check(self, connection: ServerConnection, head: RequestHead) -> str:
        """Return the content type. Raises the BlogError that says what else to send."""
        assert self.member is not None
        self._policy.check(Access.INTERNAL, peer=connection.address, headers=_Fields(head), route=_PATH)
        own_id = self.member.instance.id
        if head.get(b"blog-instance") not in (None, own_id.encode()):
            raise misdirected(own_id)
        must_be_plain(value.decode("latin-1") for value in head.get_all(b"content-encoding"))
        if [value.lower() for value in head.get_all(b"expect")] not in ([], [b"100-continue"]):
            raise expectation_failed()
        content_type = _text(head, b"content-type").partition(";")[0].strip().lower()
        if content_type not in APPEND_TYPES:
            raise unsupported(content_type or "nothing", *APPEND_TYPES)
        return content_type

    def respond(self, connection: ServerConnection, head: RequestHead, body: bytes) -> None:
        """Send the response to an append that was done."""
        fields = b"Content-Type: application/json\r\n%b%b" % (self._date(), self._log_field)
        write_response(connection, head, HTTPStatus.OK, fields, body)

    def respond_problem(self, connection: ServerConnection, head: RequestHead, error: BlogError) -> None:
        """Send a problem (RFC 9457)."""
        headers = {"Content-Type": PROBLEM_TYPE, **error.headers}
        own = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        fields = b"%b%b%b" % (own, self._date(), self._log_field)
        body = problem_body(error, _text(head, b"x-request-id") or None)
        write_response(connection, head, status_of(error), fields, body)


class FastAppend(Handler):
    """One request to append, from its head to its response."""

    __slots__ = ("_connection", "_content_type", "_fast_path", "_head", "_is_over", "_pieces", "_size")

    def __init__(
        self,
        fast_path: AppendFastPath,
        connection: ServerConnection,
        head: RequestHead,
        *,
        is_over: bool = False,
    ) -> None:
        self._fast_path = fast_path
        self._connection = connection
        self._head = head
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_over = is_over
        self._content_type = ""

    def check_head(self) -> bool:
        """Return whether the body is to be read; otherwise the response has been sent."""
        try:
            self._content_type = self._fast_path.check(self._connection, self._head)
        except BlogError as error:
            self._fail(error)
        return not self._is_over

    def body_data(self, data: bytes) -> None:
        """Add a piece of the body."""
        if self._is_over:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            self._fail(TooLarge(f"A request may have {MAX_BODY} bytes."))

    def body_ended(self) -> None:
        """Read the request, and let the log append its events."""
        if self._is_over:
            return
        try:
            append = read_append(self._content_type, _query(self._head), b"".join(self._pieces))
            future = self._fast_path.log.append_soon(*append)
        except BlogError as error:
            self._fail(error)
        else:
            future.add_done_callback(self._appended)

    def body_failed(self, error: BlogError) -> None:
        """Respond with the error."""
        self._fail(error)

    def client_gone(self) -> None:
        """Send no response; what the log has begun to append, it appends."""
        self._end()

    def _appended(self, future: "asyncio.Future[list[Appended]]") -> None:
        error = future.exception()
        if self._is_over:
            return
        if isinstance(error, BlogError):
            self._fail(error)
            return
        self._fast_path.respond(self._connection, self._head, encode_appended(future.result()))
        self._finish()

    def _fail(self, error: BlogError) -> None:
        if not self._is_over:
            self._fast_path.respond_problem(self._connection, self._head, error)
            self._finish()

    def _finish(self) -> None:
        self._end()
        self._connection.finish()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._fast_path.count(-1)


class FastPathConnection(ServerConnection):
    """A connection that the fast path has as long as nothing but appends are asked on it."""

    __slots__ = ("_fast_path",)

    def __init__(
        self, fast_path: AppendFastPath, now: Callable[[], float], coalescer: WriteCoalescer
    ) -> None:
        super().__init__(fast_path, fast_path.limiter, now, coalescer)
        self._fast_path = fast_path

    def data_received(self, data: bytes) -> None:
        """Read on, or hand over the connection."""
        if self.is_idle and not self._fast_path.accepts(data):
            self._fast_path.hand_over(self, data)
        else:
            super().data_received(data)


class _Fields:
    """The headers of a request, as a policy reads them."""

    __slots__ = ("_head",)

    def __init__(self, head: RequestHead) -> None:
        self._head = head

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return (name.decode("latin-1") for name, _, _ in self._head.fields)

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """Return the values of a header."""
        values = self._head.get_all(_field(name))
        return [value.decode("latin-1") for value in values] or default


@cache
def _field(name: str) -> bytes:
    """Return the name of a header as heads have it; there are few."""
    return name.lower().encode()


def _text(head: RequestHead, name: bytes) -> str:
    """Return the value of a field, "" without one."""
    return (head.get(name) or b"").decode("latin-1")


def _query(head: RequestHead) -> MultiDict[str]:
    _, _, query = head.target.partition(b"?")
    return MultiDict(parse_qsl(query.decode("ascii"), keep_blank_values=True)) if query else _NO_QUERY
