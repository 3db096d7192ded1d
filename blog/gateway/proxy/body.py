"""Body: what a client sends after the head, as far as it is kept to be sent (again). Pure.

Small bodies are kept until the response is there; of larger ones only what no upstream has received yet.
"""

from blog.core.errors import TooLarge
from blog.http.framing import chunk
from blog.http.heads import RequestHead
from blog.http.limits import REPLAY_LIMIT
from blog.http.parsed_head import ParsedHead


class RequestBody:
    """The body of one request. Raises TooLarge when it is over `limit` bytes.

    `is_buffering`: it should be complete before it is sent: it is small, or its size is unknown and it
    may be sent again. `is_replayable`: all of it that has arrived is kept.
    """

    __slots__ = (
        "_is_chunked",
        "_length",
        "_limit",
        "_pieces",
        "_size",
        "is_buffering",
        "is_complete",
        "is_replayable",
    )

    def __init__(self, head: RequestHead, limit: int, *, is_retryable: bool) -> None:
        self._length = head.length
        self._limit = limit
        self._size = 0
        self._pieces: list[bytes] = []
        self._is_chunked = False
        self.is_complete = not head.has_body
        self.is_replayable = True
        if (head.length or 0) > limit:
            raise self._too_large()
        self.is_buffering = not self.is_complete and (
            is_retryable if head.length is None else head.length <= REPLAY_LIMIT
        )

    def add(self, data: bytes, *, is_streaming: bool) -> bytes:
        """Keep a piece; return it as it is forwarded, if the body is sent to an upstream already."""
        self._size += len(data)
        if self._size > self._limit:
            raise self._too_large()
        if self._size > REPLAY_LIMIT:
            self.is_buffering = False
            if is_streaming:
                self.is_replayable = False
                self._pieces.clear()
        if self.is_replayable:
            self._pieces.append(data)
        return chunk(data) if self._is_chunked else data

    def end(self) -> bytes:
        """Note that it is complete; return what ends it, if it is sent to an upstream already."""
        self.is_complete = True
        self.is_buffering = False
        return b"0\r\n\r\n" if self._is_chunked else b""

    def start(self) -> tuple[bytes, bytes]:
        """Return its framing, as header lines, and what there is of it, for an upstream."""
        assert self.is_replayable
        here = b"".join(self._pieces)
        self._is_chunked = not self.is_complete and self._length is None
        if self._is_chunked:
            return b"Transfer-Encoding: chunked\r\n", chunk(here) if here else b""
        length = self._length if self._length is not None else len(here) if here else None
        return (b"" if length is None else b"Content-Length: %d\r\n" % length), here

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is over {self._limit} bytes.")

    def __repr__(self) -> str:
        """Show how much arrived, and whether it can be sent again."""
        kept = "kept" if self.is_replayable else "streaming"
        return f"<RequestBody: {self._size} bytes, {'complete' if self.is_complete else 'open'}, {kept}>"


NO_BODY = RequestBody(RequestHead(ParsedHead(), b"", b""), 0, is_retryable=True)
"""Nothing: the same for every request that has none."""
