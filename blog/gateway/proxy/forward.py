"""Relay: an instance's answer on its way to the client: held while of use, then passed on.

Nothing was sent to the client until `is_started`: so long another instance may answer instead.
"""

from blog.gateway.proxy.headers import passed_loose, sort_answer
from blog.http.framing import chunk, last_chunk
from blog.http.head_cache import NOTHING_LOOSE
from blog.http.heads import RequestHead, ResponseHead
from blog.http.limits import HELD_LIMIT
from blog.http.responses import connection_line
from blog.http.server import ServerConnection

EVENT_STREAM = b"text/event-stream"
_LENGTH = b"Content-Length: %d\r\n"


class ResponseForwarder:
    """The answer with `head` to `request`. With `holds`, a small one is not begun before it is whole.

    `lines` are what the gateway says beside it. `cors` replaces what the instance says about sharing.
    """

    __slots__ = (
        "_client",
        "_has_body",
        "_holds",
        "_is_chunked",
        "_pieces",
        "head",
        "is_started",
        "is_stream",
    )

    def __init__(  # noqa: PLR0913 - what an answer is made of
        self,
        client: ServerConnection,
        request: RequestHead,
        head: ResponseHead,
        lines: bytes,
        *,
        holds: bool,
        drops_cors: bool,
    ) -> None:
        self.head = head
        self.is_started = False
        self._client = client
        self._has_body = not (head.has_no_body(request.method) or head.status < 200)  # noqa: PLR2004
        self._is_chunked = self._has_body and head.length is None and not request.block.is_http_1_0
        if self._has_body and head.length is None and request.block.is_http_1_0:
            client.keeps_alive = False  # its end is the connection's
        self._holds = holds and head.length is not None and head.length <= HELD_LIMIT
        known = sort_answer(head, without_cors=drops_cors)
        self.is_stream = known.noted.get(b"content-type", b"").startswith(EVENT_STREAM)
        self._pieces = [
            b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason),
            known.lines,
            passed_loose(head.loose),
            lines,
            self._framing(),
            connection_line(client, request),
        ]

    def came(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(chunk(data) if self._is_chunked else data)

    def flush(self) -> None:
        """Send what is here, unless it is better held."""
        if not self._holds:
            self._send()

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the rest."""
        if self._is_chunked:
            self._pieces.append(last_chunk(trailers))
        self._send()

    def switch(self, protocol: bytes) -> None:
        """Say that the connection speaks `protocol` from here on (RFC 9110 §7.8)."""
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
        return f"<ResponseForwarder {self.head.status}, {'started' if self.is_started else 'held'}>"


def whole_head(head: ResponseHead) -> bytes:
    """Return status line, fields and length of an answer that is here whole; made once for equals."""
    known, block = sort_answer(head), head.block
    if not known.opening:
        length = b"" if block.length is None else _LENGTH % block.length
        known.opening = b"HTTP/1.1 %d %b\r\n%b%b" % (head.status, head.reason, known.lines, length)
    if head.loose is NOTHING_LOOSE:
        return known.opening
    return b"%b%b%b" % (known.opening, passed_loose(head.loose), _LENGTH % (head.length or 0))
