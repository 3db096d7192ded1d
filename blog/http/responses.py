"""Responses: a complete response as bytes, and whether the connection persists after it."""

from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus

from blog.http.heads import RequestHead
from blog.http.parsed_head import ParsedHead
from blog.http.server import ServerConnection

NO_HEAD = RequestHead(ParsedHead(), b"", b"")
"""Stands for a request that could not be read."""


class DateLine:
    """The field `Date` (RFC 9110 §6.6.1), formatted once a second. `now` is the wall-clock time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._second: datetime | None = None
        self._line = b""

    def __call__(self) -> bytes:
        """Return the header line."""
        second = self._now().replace(microsecond=0)
        if second != self._second:
            self._second = second
            self._line = f"Date: {format_datetime(second, usegmt=True)}\r\n".encode()
        return self._line


def write_response(
    client: ServerConnection, request: RequestHead, status: int, lines: bytes, body: bytes
) -> None:
    """Respond to `request`; the caller finishes. What is left of the request's body is ignored.

    `lines` are header fields, each with its line end.
    """
    client.discard_body()
    length = b"" if status == HTTPStatus.NO_CONTENT else b"Content-Length: %d\r\n" % len(body)
    client.write(
        b"HTTP/1.1 %d %b\r\n%b%b%b%b"
        % (
            status,
            HTTPStatus(status).phrase.encode(),
            lines,
            length,
            connection_line(client, request),
            b"" if request.method == b"HEAD" else body,
        )
    )


def connection_line(client: ServerConnection, request: RequestHead) -> bytes:
    """Return the end of a head: whether the connection persists, where that must be stated."""
    if not client.keeps_alive:
        return b"Connection: close\r\n\r\n"
    return b"Connection: keep-alive\r\n\r\n" if request.parsed.is_http_1_0 else b"\r\n"
