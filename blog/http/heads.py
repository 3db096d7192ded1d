"""Heads: the bytes of a request's or answer's head → what it says, or a refusal. Pure.

A head is given whole, up to and with its empty line, so that nothing of what follows is ever parsed
with it. Most have come before: see `known`.
"""

import re

from blog.core.errors import Malformed
from blog.http.head_cache import NOTHING_LOOSE, HeadCache, VolatileFields
from blog.http.parsed_head import Field, ParsedHead, length_of
from blog.http.parser import is_host, read_answer, read_request

END = b"\r\n\r\n"
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)
_PLAIN = re.compile(rb"/[!\"$-~]*")
# Their values differ from head to head, and mean nothing to whoever passes them on.
_LENGTH_NAMES = (b"Content-Length", b"content-length")
_LOOSE_IN_REQUESTS = (
    *(b"Cookie", b"cookie", b"Referer", b"referer", b"Authorization", b"authorization"),
    *(b"If-None-Match", b"if-none-match", b"If-Modified-Since", b"if-modified-since"),
)
_LOOSE_IN_ANSWERS = (
    *_LENGTH_NAMES,
    *(b"ETag", b"Etag", b"etag", b"Last-Modified", b"last-modified"),
    *(b"Set-Cookie", b"set-cookie", b"X-Request-Id", b"x-request-id"),
)


class _Head:
    """What both kinds of heads can be asked."""

    __slots__ = ("block", "loose", "said")

    block: ParsedHead
    loose: VolatileFields
    """Fields that are not in the block."""
    said: bytes
    """What it was read from; of a request without the target. Empty where that is no matter."""

    @property
    def fields(self) -> list[Field]:
        """The header fields, in the order of each name."""
        return [
            *self.block.fields,
            *((name.lower(), name, value) for name, value in self.loose.fields),
        ]

    @property
    def is_chunked(self) -> bool:
        """Tell whether the body is chunked (RFC 9112 §7.1)."""
        return self.block.is_chunked

    @property
    def is_http_1_0(self) -> bool:
        """Tell whether HTTP/1.0 is spoken."""
        return self.block.is_http_1_0

    @property
    def options(self) -> frozenset[bytes]:
        """The options of `Connection`, in lower case."""
        return self.block.options

    @property
    def keeps_alive(self) -> bool:
        """Tell whether the connection may be used again (RFC 9112 §9.3)."""
        return self.block.keeps_alive

    def get(self, key: bytes) -> bytes | None:
        """Return the first value of the field `key` (lower case), None when it is not there."""
        return next((value for found, _, value in self.fields if found == key), None)

    def get_all(self, key: bytes) -> list[bytes]:
        """Return every value of the field `key` (lower case)."""
        return [value for found, _, value in self.fields if found == key]


class RequestHead(_Head):
    """A request's head (RFC 9112 §3).

    `target` is path and query, byte for byte as they came; an absolute form has lost its host, which
    is then in `host` (§3.2.2). `raw_path` is `target` without the query.
    """

    __slots__ = ("host", "method", "raw_path", "target")

    def __init__(
        self,
        block: ParsedHead,
        target: bytes,
        host: bytes,
        loose: VolatileFields = NOTHING_LOOSE,
        said: bytes = b"",
    ) -> None:
        self.block = block
        self.loose = loose
        self.said = said
        self.method = block.method
        self.target = target
        self.raw_path = target.partition(b"?")[0].decode("ascii")
        self.host = host

    @property
    def has_body(self) -> bool:
        """Tell whether body bytes follow."""
        return self.block.has_body

    @property
    def length(self) -> int | None:
        """The declared length of the body in bytes, None where none is declared."""
        return self.block.length

    def __repr__(self) -> str:
        """Show the request line."""
        return f"<RequestHead {self.method.decode()} {self.target.decode()}>"


class ResponseHead(_Head):
    """An answer's head (RFC 9112 §4)."""

    __slots__ = ("length", "reason", "status")

    def __init__(
        self, block: ParsedHead, loose: VolatileFields = NOTHING_LOOSE, said: bytes = b""
    ) -> None:
        self.block = block
        self.loose = loose
        self.said = said
        self.length = block.length
        """The declared length of the body in bytes, None where none is declared."""
        for name, value in loose.fields:
            if name in _LENGTH_NAMES:
                if self.length is not None:
                    raise Malformed("There is more than one Content-Length (RFC 9112 §6.3).")
                self.length = length_of(value)
        self.status = block.status
        self.reason = block.reason

    def has_no_body(self, method: bytes) -> bool:
        """Tell whether no body follows whatever the fields say (RFC 9112 §6.3, 1)."""
        return method == b"HEAD" or self.status in (204, 304)

    def __repr__(self) -> str:
        """Show the status line."""
        return f"<ResponseHead {self.status} {self.reason.decode('latin-1')}>"


_requests = HeadCache(read_request, _LOOSE_IN_REQUESTS)
_answers = HeadCache(read_answer, _LOOSE_IN_ANSWERS)


def parse_request(raw: bytes, before: RequestHead | None = None) -> RequestHead:
    """Read a request's head. `before` is the one before it on the same connection: most are equal.

    Raises Malformed, HeadTooLarge, NotSupported (a method nobody knows) or VersionNotSupported.
    """
    method_end = raw.find(b" ")
    target_end = raw.find(b" ", method_end + 1)
    target = raw[method_end + 1 : target_end]
    if not _PLAIN.fullmatch(target):
        return _with_target(read_request(raw))
    # heads that differ in nothing but such a target are equal
    said = raw[:method_end] + b" /" + raw[target_end:]
    if before is not None and said == before.said:
        return RequestHead(before.block, target, before.host, before.loose, said)
    block, loose = _requests.find(said)
    return RequestHead(block, target, block.hosts[0] if block.hosts else b"", loose, said)


def parse_response(raw: bytes, before: ResponseHead | None = None) -> ResponseHead:
    """Read an answer's head. `before` is the one before it on the same connection.

    Raises Malformed when it is none.
    """
    if before is not None and raw == before.said:
        return before
    return ResponseHead(*_answers.find(raw), raw)


def _with_target(block: ParsedHead) -> RequestHead:
    """Take the path; the authority of an absolute form is the host (RFC 9112 §3.2.2)."""
    target = block.target
    host = block.hosts[0] if block.hosts else b""
    if absolute := _ABSOLUTE.fullmatch(target):
        host, target = absolute[1], absolute[2]
        if not is_host(host):
            raise Malformed("The target's host is none (RFC 9110 §4.2).")
        target = target if target.startswith(b"/") else b"/" + target
    if not (_PLAIN.fullmatch(target) or _is_for_all(block)):
        raise Malformed("The target is no path and query (RFC 9112 §3.2.1).")
    return RequestHead(block, target, host)


def _is_for_all(block: ParsedHead) -> bool:
    """Tell whether a request is about the server as a whole (RFC 9112 §3.2.4)."""
    return block.target == b"*" and block.method == b"OPTIONS"
