"""Forward: an upstream's response on its way to the client: buffered while of use, then sent.

Nothing was sent to the client until `is_started`: so long another upstream may respond instead.
"""

from blog.gateway.proxy.headers import filter_response, forward_volatile
from blog.http.framing import chunk, last_chunk
from blog.http.head_cache import NO_VOLATILE_FIELDS
from blog.http.heads import RequestHead, ResponseHead
from blog.http.limits import RESPONSE_BUFFER_LIMIT
from blog.http.responses import connection_line
from blog.http.server import ServerConnection

EVENT_STREAM = b"text/event-stream"
_LENGTH = b"Content-Length: %d\r\n"


class ResponseForwarder:
    """The response with `head` to `request`. With `is_buffered`, a small one is sent when it is complete.

    `lines` are header lines of the gateway. `without_cors`: those of the upstream about CORS are dropped.
    """

    __slots__ = (
        "_client",
        "_has_body",
        "_is_buffering",
        "_is_chunked",
        "_pieces",
        "head",
        "is_started",
        "is_stream",
    )

    def __init__(  # noqa: PLR0913 - a response has these parts
        self,
        client: ServerConnection,
        request: RequestHead,
        head: ResponseHead,
        lines: bytes,
        *,
        is_buffered: bool,
        without_cors: bool,
    ) -> None:
        self.head = head
        self.is_started = False
        self._client = client
        self._has_body = not (head.has_no_body(request.method) or head.status < 200)  # noqa: PLR2004
        self._is_chunked = self._has_body and head.length is None and not request.parsed.is_http_1_0
        if self._has_body and head.length is None and request.parsed.is_http_1_0:
            client.keeps_alive = False  # its end is the connection's
        self._is_buffering = (
            is_buffered and head.length is not None and head.length <= RESPONSE_BUFFER_LIMIT
        )
        filtered = filter_response(head, without_cors=without_cors)
        self.is_stream = filtered.inspected.get(b"content-type", b"").startswith(EVENT_STREAM)
        self._pieces = [
            b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason),
            filtered.lines,
            forward_volatile(head.volatile),
            lines,
            self._framing(),
            connection_line(client, request),
        ]

    def add(self, data: bytes) -> None:
        """Add a piece of the body."""
        self._pieces.append(chunk(data) if self._is_chunked else data)

    def flush(self) -> None:
        """Send what is here, unless it is buffered."""
        if not self._is_buffering:
            self._send()

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the rest."""
        if self._is_chunked:
            self._pieces.append(last_chunk(trailers))
        self._send()

    def switch(self, protocol: bytes) -> None:
        """Switch the connection to `protocol` (RFC 9110 §7.8)."""
        self._pieces[-2:] = [b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % protocol]
        self._send()

    def _send(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self.is_started = True
            self._client.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _framing(self) -> bytes:
        if self._is_chunked:
            return b"Transfer-Encoding: chunked\r\n"
        length = self.head.length
        # HEAD and 304 may tell the length of what GET would get; 204 must not (RFC 9110 §8.6)
        if length is None or self.head.status == 204:  # noqa: PLR2004 - no content
            return b""
        return _LENGTH % length

    def __repr__(self) -> str:
        """Show the status and how far it is."""
        return f"<ResponseForwarder {self.head.status}, {'started' if self.is_started else 'buffered'}>"


def complete_head(head: ResponseHead) -> bytes:
    """Return status line, fields and length of a complete response; made once for equal heads."""
    filtered, parsed = filter_response(head), head.parsed
    if not filtered.prefix:
        length = b"" if parsed.length is None else _LENGTH % parsed.length
        filtered.prefix = b"HTTP/1.1 %d %b\r\n%b%b" % (head.status, head.reason, filtered.lines, length)
    if head.volatile is NO_VOLATILE_FIELDS:
        return filtered.prefix
    return b"%b%b%b" % (filtered.prefix, forward_volatile(head.volatile), _LENGTH % (head.length or 0))
