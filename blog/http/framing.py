"""Framing: where a body ends, and how it is written. Pure; one reading or none (RFC 9112 §6, §7.1).

A reader gets the bytes that follow a head, in any pieces, and gives the body's own bytes and what
is left after its end.
"""

import re
from typing import Protocol

from blog.core.errors import Malformed
from blog.http.heads import RequestHead, ResponseHead

_LINE_LIMIT = 256
_TRAILER_LIMIT = 8192
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_EXTENSION = (
    rb'[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"))?'
    % (
        _TOKEN,
        _TOKEN,
    )
)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*" % _EXTENSION)
_TRAILER = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*)" % _TOKEN)


class BodyReader(Protocol):
    """Reads a body. `is_complete` once its end was seen."""

    is_complete: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on; return the body's bytes, and what is left after its end.

        Raises Malformed where the framing is broken.
        """
        ...


class NoBody:
    """Nothing follows the head."""

    is_complete = True

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Leave everything."""
        return b"", data


NO_BODY = NoBody()


class LengthBody:
    """A body of `length` bytes."""

    __slots__ = ("is_complete", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.is_complete = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Count down."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        mine, rest = (data, b"") if size == self.left else (data[: self.left], data[self.left :])
        self.left = 0
        self.is_complete = True
        return mine, rest


class UntilClose:
    """A body that ends with its connection: only responses have one."""

    is_complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take everything."""
        return data, b""


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1). `trailers` are the fields behind it: name and value."""

    __slots__ = (
        "_in_trailers",
        "_is_chunk_over",
        "_left",
        "_partial",
        "_trailer_size",
        "is_complete",
        "trailers",
    )

    def __init__(self) -> None:
        self.is_complete = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._partial = b""
        self._left = 0
        self._is_chunk_over = False
        self._in_trailers = False
        self._trailer_size = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode. Sizes are hexadecimal; extensions are checked and dropped (RFC 9112 §7.1.1)."""
        data = self._partial + data if self._partial else data
        at = 0
        found: list[bytes] = []
        while not self.is_complete:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                self._left -= len(piece)
                self._is_chunk_over = self._left == 0
                end = at + len(piece)
            elif self._is_chunk_over:
                end = self._end_chunk(data, at)
            else:
                end = self._read_line(data, at)
            if end == at:
                self._partial = data[at:]
                return b"".join(found), b""
            at = end
        return b"".join(found), data[at:]

    def _end_chunk(self, data: bytes, at: int) -> int:
        """Skip the line end after a chunk; return where that is, `at` when more is needed."""
        ending = data[at : at + 2]
        if not b"\r\n".startswith(ending):
            raise Malformed("A chunk is longer than it says (RFC 9112 §7.1).")
        if len(ending) < len(b"\r\n"):
            return at
        self._is_chunk_over = False
        return at + 2

    def _read_line(self, data: bytes, at: int) -> int:
        """Read a size or a trailer; return where its line ends, `at` when more is needed."""
        end = data.find(b"\r\n", at)
        limit = _TRAILER_LIMIT if self._in_trailers else _LINE_LIMIT
        if (len(data) if end < 0 else end) - at > limit:
            raise Malformed("A line of the chunked body is too long.")
        if end < 0:
            if b"\n" in data[at:]:
                raise Malformed("A line of the chunked body ends without CR.")
            return at
        line = data[at:end]
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        return end + 2

    def _read_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise Malformed("A chunk size is not valid (RFC 9112 §7.1).")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.is_complete = True
            return
        match = _TRAILER.fullmatch(line)
        self._trailer_size += len(line)
        if match is None or self._trailer_size > _TRAILER_LIMIT:
            raise Malformed("A trailer is not valid, or too long (RFC 9112 §7.1.2).")
        self.trailers.append((match[1], match[2].rstrip(b" \t")))


def chunk(data: bytes) -> bytes:
    """Write `data`, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """Write the end of a chunked body."""
    lines = b"".join(b"%b: %b\r\n" % trailer for trailer in trailers)
    return b"0\r\n%b\r\n" % lines


def request_body(head: RequestHead) -> BodyReader:
    """Return the reader of a request's body."""
    if head.is_chunked:
        return ChunkedBody()
    return LengthBody(head.length) if head.length else NO_BODY


def response_body(head: ResponseHead, method: bytes) -> BodyReader:
    """Return the reader of the body of a response to `method` (RFC 9112 §6.3)."""
    if head.has_no_body(method):
        return NO_BODY
    if head.is_chunked:
        return ChunkedBody()
    return UntilClose() if head.length is None else LengthBody(head.length)
