"""Replies: what the gateway answers itself: problems (RFC 9457), and the few things it knows."""

from collections.abc import Callable, Mapping
from datetime import datetime

from blog.core.errors import BlogError, status_of
from blog.core.web import PROBLEM_TYPE, problem_body
from blog.http.heads import RequestHead
from blog.http.responses import DateLine, reply
from blog.http.server import ServerConnection


class LocalResponses:
    """Writes answers. `now` is the wall-clock time, for `Date`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._date = DateLine(now)

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
        if request_id:
            fields = {**fields, "X-Request-Id": request_id.decode()}
        told = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        reply(client, head, status, b"%b%b%b" % (self._date(), told, lines), body)
