"""Body: what a client sends after the head, as far as it is remembered to be sent (again). Pure.

Small bodies are kept until the answer is there; of larger ones only what no instance has got yet.
"""

from blog.core.errors import TooLarge
from blog.http.framing import chunk
from blog.http.heads import RequestHead
from blog.http.limits import REPLAY_LIMIT
from blog.http.parsed_head import ParsedHead


class RequestBody:
    """The body of one request. Raises TooLarge when it is over `limit` bytes.

    `waits`: it should be here whole before it is sent: it is small, or its size is unknown and it
    may be sent again.
    """

    __slots__ = ("_is_chunked", "_kept", "_length", "_limit", "_size", "is_kept", "is_whole", "waits")

    def __init__(self, head: RequestHead, limit: int, *, is_retryable: bool) -> None:
        self._length = head.length
        self._limit = limit
        self._size = 0
        self._kept: list[bytes] = []
        self._is_chunked = False
        self.is_whole = not head.has_body
        self.is_kept = True
        if (head.length or 0) > limit:
            raise self._too_large()
        self.waits = not self.is_whole and (
            is_retryable if head.length is None else head.length <= REPLAY_LIMIT
        )

    def came(self, data: bytes, *, is_flowing: bool) -> bytes:
        """Remember what came; return it as it goes on to an instance, if it flows to one already."""
        self._size += len(data)
        if self._size > self._limit:
            raise self._too_large()
        if self._size > REPLAY_LIMIT:
            self.waits = False
            if is_flowing:
                self.is_kept = False
                self._kept.clear()
        if self.is_kept:
            self._kept.append(data)
        return chunk(data) if self._is_chunked else data

    def ended(self) -> bytes:
        """Note that it is whole; return how its end is written, if it flows to an instance already."""
        self.is_whole = True
        self.waits = False
        return b"0\r\n\r\n" if self._is_chunked else b""

    def start(self) -> tuple[bytes, bytes]:
        """Return its framing, as header lines, and what there is of it, for an instance."""
        assert self.is_kept
        here = b"".join(self._kept)
        self._is_chunked = not self.is_whole and self._length is None
        if self._is_chunked:
            return b"Transfer-Encoding: chunked\r\n", chunk(here) if here else b""
        length = self._length if self._length is not None else len(here) if here else None
        return (b"" if length is None else b"Content-Length: %d\r\n" % length), here

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is over {self._limit} bytes.")

    def __repr__(self) -> str:
        """Show how much came, and whether it can be sent again."""
        kept = "kept" if self.is_kept else "flowing"
        return f"<RequestBody: {self._size} bytes, {'whole' if self.is_whole else 'open'}, {kept}>"


NO_BODY = RequestBody(RequestHead(ParsedHead(), b"", b""), 0, is_retryable=True)
"""Nothing: the same for every request that has none."""
