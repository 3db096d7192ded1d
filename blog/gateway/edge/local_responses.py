"""Local responses: what the gateway responds itself: problems (RFC 9457), and the few things it knows."""

from collections.abc import Callable, Mapping
from datetime import datetime

from blog.core.errors import BlogError, status_of
from blog.core.web import PROBLEM_TYPE, problem_body
from blog.http.application import Handler
from blog.http.heads import RequestHead
from blog.http.responses import DateLine, write_response
from blog.http.server import ServerConnection


class LocalRequest(Handler):
    """A request that the gateway responds to itself; its body is ignored. `is_gone`: the client left."""

    def __init__(self) -> None:
        self.is_gone = False

    def client_gone(self) -> None:
        """Note it."""
        self.is_gone = True


RESPONDED = LocalRequest()
"""Stands for a request that was responded to at once."""


class LocalResponses:
    """Writes responses. `now` is the wall-clock time, for `Date`."""

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
        """Respond with `error`; return its status. `lines` are added to the head."""
        body = problem_body(error, request_id.decode() or None)
        fields = {"Content-Type": PROBLEM_TYPE, **error.headers}
        self.send(client, head, status_of(error), fields, body, request_id, lines)
        return status_of(error)

    def send(  # noqa: PLR0913, PLR0917 - a response has these parts
        self,
        client: ServerConnection,
        head: RequestHead,
        status: int,
        fields: Mapping[str, str],
        body: bytes,
        request_id: bytes,
        lines: bytes = b"",
    ) -> None:
        """Respond; the caller finishes. What is left of the request's body is ignored."""
        if request_id:
            fields = {**fields, "X-Request-Id": request_id.decode()}
        formatted = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        write_response(client, head, status, b"%b%b%b" % (self._date(), formatted, lines), body)
