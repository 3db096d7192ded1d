"""Replies: what the gateway answers itself: problems (RFC 9457), and the few things it knows."""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus

from blog.core.errors import BlogError, status_of
from blog.core.web import PROBLEM_TYPE, problem_body
from blog.gateway.relay import connection_line
from blog.http.block import Block
from blog.http.heads import RequestHead
from blog.http.server import ServerConnection

NO_HEAD = RequestHead(Block(), b"", b"")
"""Stands for a request that could not be read."""


class Replies:
    """Writes answers. `now` is the wall-clock time, for `Date`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def problem(
        self,
        client: ServerConnection,
        head: RequestHead,
        error: BlogError,
        request_id: bytes,
        lines: bytes,
    ) -> int:
        """Answer with `error`; return its status. `lines` go with it."""
        body = problem_body(error, request_id.decode() or None)
        fields = {"Content-Type": PROBLEM_TYPE, **error.headers}
        self.send(client, head, status_of(error), fields, body, request_id, lines)
        return status_of(error)

    def send(  # noqa: PLR0913, PLR0917 - what an answer is made of
        self,
        client: ServerConnection,
        head: RequestHead,
        status: int,
        fields: Mapping[str, str],
        body: bytes,
        request_id: bytes,
        lines: bytes = b"",
    ) -> None:
        """Answer; the caller finishes. What is left of the request's body is passed over."""
        client.discard_body()
        told = {"Date": format_datetime(self._now(), usegmt=True), **fields}
        if request_id:
            told["X-Request-Id"] = request_id.decode()
        text = "".join(f"{name}: {value}\r\n" for name, value in told.items()).encode()
        length = b"" if status == HTTPStatus.NO_CONTENT else b"Content-Length: %d\r\n" % len(body)
        client.write(
            b"HTTP/1.1 %d %b\r\n%b%b%b%b%b"
            % (
                status,
                HTTPStatus(status).phrase.encode(),
                text,
                lines,
                length,
                connection_line(client, head),
                b"" if head.method == b"HEAD" else body,
            )
        )
