"""Append door: `POST /events` without a task and without a framework: most of what the bus is asked.

It stands in front of the bus's aiohttp door, on the same port. A connection that asks for anything else,
or comes while this instance may not answer, is handed over to the one behind, and stays there.
"""

import asyncio
import hmac
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl

from multidict import MultiDict

from blog.bus.api.append_wire import APPEND_TYPES, MAX_BODY, read_append, told
from blog.bus.log.log import EventLog
from blog.core.clock import Clock
from blog.core.errors import BlogError, TooLarge, status_of
from blog.core.net.codings import must_be_plain
from blog.core.web import PROBLEM_TYPE, misdirected, problem_body, unauthorized, unmet, unsupported
from blog.eventlog.client import LOG_HEADER, Appended
from blog.http.application import Handler
from blog.http.connection_limits import ConnectionLimiter
from blog.http.heads import RequestHead
from blog.http.responses import NO_HEAD, DateLine, write_response
from blog.http.server import ServerConnection
from blog.http.write_coalescer import WriteCoalescer
from blog.lifecycle.member import Member

PLACES = 10_000
"""Connections that it has at once, of anybody: only those within come here."""

_APPENDS = (b"POST /events ", b"POST /events?")
_NO_QUERY: MultiDict[str] = MultiDict()


class AppendFastPath:
    """A `Front` of the bus's member, and the application of its own connections."""

    def __init__(self, journal: EventLog, token: str | None, clock: Clock) -> None:
        self.log = journal
        self.places: ConnectionLimiter[ServerConnection] = ConnectionLimiter(PLACES, PLACES)
        self.member: Member | None = None
        self._token = None if token is None else f"Bearer {token}".encode()
        self._now = clock.monotonic
        self._date = DateLine(clock.now)
        self._log_line = f"{LOG_HEADER}: {journal.identity}\r\n".encode()
        self._outbox = WriteCoalescer(asyncio.get_running_loop())
        self._behind: Callable[[], asyncio.Protocol]

    def open(self, member: Member) -> None:
        """Answer from here, as `member`."""
        self.member = member

    # -- what a member asks of its front -------------------------------------------------------------

    def wrap(self, behind: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of each connection; `behind` makes that of the door behind."""
        self._behind = behind
        return lambda: FastPathConnection(self, self._now, self._outbox)

    def sweep(self) -> None:
        """Close whoever has had its time."""
        self.places.sweep(self._now())

    def close(self) -> None:
        """Close what waits, break off what does not."""
        self.places.close_idle()
        self.places.abort_all()

    # -- what connections ask ------------------------------------------------------------------------

    def takes(self, data: bytes) -> bool:
        """Tell whether a connection that begins like this is for here."""
        member = self.member
        return member is not None and member.health.running.is_set() and data.startswith(_APPENDS)

    def hand_over(self, connection: ServerConnection, data: bytes) -> None:
        """Let the door behind answer what begins with `data`, and whatever comes later."""
        connection.detach()
        self.places.release(connection)
        transport, protocol = connection.transport, self._behind()
        transport.set_write_buffer_limits()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if connection.is_paused:
            protocol.pause_writing()  # the transport will say when to go on: to somebody who has stopped
        protocol.data_received(data)

    def begin(self, connection: ServerConnection, head: RequestHead) -> "FastAppend":
        """Begin to answer a request."""
        if head.method != b"POST" or head.raw_path != "/events":
            # sent behind an append without waiting: unanswered, it is sent again on another connection
            connection.close()
            return FastAppend(self, connection, head, is_over=True)
        self.count(1)
        request = FastAppend(self, connection, head)
        if not request.is_welcome() or not head.has_body:
            request.body_ended()
        elif head.get(b"expect") and not head.is_http_1_0:
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def refuse(self, connection: ServerConnection, error: BlogError) -> None:
        """Answer what is no request."""
        self.problem(connection, NO_HEAD, error)

    def count(self, difference: int) -> None:
        """Count the requests that draining waits for."""
        assert self.member is not None
        self.member.health.requests.add(difference)

    def check(self, head: RequestHead) -> str:
        """Return the content type. Raises the RequestError that says what else to send."""
        assert self.member is not None
        me = self.member.instance.id
        if head.get(b"blog-instance") not in (None, me.encode()):
            raise misdirected(me)
        given = head.get(b"authorization") or b""
        if self._token is not None and not hmac.compare_digest(given, self._token):
            raise unauthorized()
        must_be_plain(value.decode("latin-1") for value in head.get_all(b"content-encoding"))
        if [value.lower() for value in head.get_all(b"expect")] not in ([], [b"100-continue"]):
            raise unmet()
        content_type = _text(head, b"content-type").partition(";")[0].strip().lower()
        if content_type not in APPEND_TYPES:
            raise unsupported(content_type or "nothing", *APPEND_TYPES)
        return content_type

    def answer(self, connection: ServerConnection, head: RequestHead, body: bytes) -> None:
        """Say what was appended."""
        lines = b"Content-Type: application/json\r\n%b%b" % (self._date(), self._log_line)
        write_response(connection, head, HTTPStatus.OK, lines, body)

    def problem(self, connection: ServerConnection, head: RequestHead, error: BlogError) -> None:
        """Say what is wrong (RFC 9457)."""
        fields = {"Content-Type": PROBLEM_TYPE, **error.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        body = problem_body(error, _text(head, b"x-request-id") or None)
        write_response(
            connection, head, status_of(error), b"%b%b%b" % (lines, self._date(), self._log_line), body
        )


class FastAppend(Handler):
    """One request to append, from its head to its answer."""

    __slots__ = ("_connection", "_content_type", "_door", "_head", "_is_over", "_pieces", "_size")

    def __init__(
        self,
        door: AppendFastPath,
        connection: ServerConnection,
        head: RequestHead,
        *,
        is_over: bool = False,
    ) -> None:
        self._door = door
        self._connection = connection
        self._head = head
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_over = is_over
        self._content_type = ""

    def is_welcome(self) -> bool:
        """Tell whether the head is in order and the body worth reading; else say what is wrong."""
        try:
            self._content_type = self._door.check(self._head)
        except BlogError as error:
            self._fail(error)
        return not self._is_over

    def body_data(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._is_over:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            self._fail(TooLarge(f"A request may have {MAX_BODY} bytes."))

    def body_ended(self) -> None:
        """Understand what is asked, and let the log append it."""
        if self._is_over:
            return
        try:
            asked = read_append(self._content_type, _query(self._head), b"".join(self._pieces))
            future = self._door.log.appending(*asked)
        except BlogError as error:
            self._fail(error)
        else:
            future.add_done_callback(self._appended)

    def body_failed(self, error: BlogError) -> None:
        """Say so."""
        self._fail(error)

    def client_gone(self) -> None:
        """Answer nobody; what the log has begun to append, it appends."""
        self._end()

    def _appended(self, future: "asyncio.Future[list[Appended]]") -> None:
        error = future.exception()
        if self._is_over:
            return
        if isinstance(error, BlogError):
            self._fail(error)
            return
        self._door.answer(self._connection, self._head, told(future.result()))
        self._finish()

    def _fail(self, error: BlogError) -> None:
        if not self._is_over:
            self._door.problem(self._connection, self._head, error)
            self._finish()

    def _finish(self) -> None:
        self._end()
        self._connection.finish()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._door.count(-1)


class FastPathConnection(ServerConnection):
    """A connection that is the append door's as long as nothing else is asked on it."""

    __slots__ = ("_door",)

    def __init__(self, door: AppendFastPath, now: Callable[[], float], outbox: WriteCoalescer) -> None:
        super().__init__(door, door.places, now, outbox)
        self._door = door

    def data_received(self, data: bytes) -> None:
        """Read on, or leave it to the door behind."""
        if self.is_idle and not self._door.takes(data):
            self._door.hand_over(self, data)
        else:
            super().data_received(data)


def _text(head: RequestHead, name: bytes) -> str:
    """Return the value of a field, "" without one."""
    return (head.get(name) or b"").decode("latin-1")


def _query(head: RequestHead) -> MultiDict[str]:
    _, _, query = head.target.partition(b"?")
    return MultiDict(parse_qsl(query.decode("ascii"), keep_blank_values=True)) if query else _NO_QUERY
