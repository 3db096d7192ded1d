"""Heads: the bytes of a request's or response's head → what it says, or an error. Pure.

A head is given as a whole, up to and with its empty line, so that nothing of what follows is ever parsed
with it. Most were parsed before: see `head_cache`.
"""

import re

from blog.core.errors import Malformed
from blog.http.head_cache import NO_VOLATILE_FIELDS, HeadCache, VolatileFields
from blog.http.parsed_head import Field, ParsedHead, length_of
from blog.http.parser import is_host, parse_request_head, parse_response_head

END = b"\r\n\r\n"
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)
_PLAIN = re.compile(rb"/[!\"$-~]*")
# Their values differ from head to head, and mean nothing to a proxy.
_LENGTH_NAMES = (b"Content-Length", b"content-length")
_VOLATILE_IN_REQUESTS = (
    *(b"Cookie", b"cookie", b"Referer", b"referer", b"Authorization", b"authorization"),
    *(b"If-None-Match", b"if-none-match", b"If-Modified-Since", b"if-modified-since"),
)
_VOLATILE_IN_RESPONSES = (
    *_LENGTH_NAMES,
    *(b"ETag", b"Etag", b"etag", b"Last-Modified", b"last-modified"),
    *(b"Set-Cookie", b"set-cookie", b"X-Request-Id", b"x-request-id"),
)


class _Head:
    """What both kinds of heads have."""

    __slots__ = ("parsed", "source", "volatile")

    parsed: ParsedHead
    volatile: VolatileFields
    """Fields that are not in `parsed`."""
    source: bytes
    """What it was parsed from; of a request without the target. Empty where that does not matter."""

    @property
    def fields(self) -> list[Field]:
        """The header fields, in the order of each name."""
        return [
            *self.parsed.fields,
            *((name.lower(), name, value) for name, value in self.volatile.fields),
        ]

    @property
    def is_chunked(self) -> bool:
        """Whether the body is chunked (RFC 9112 §7.1)."""
        return self.parsed.is_chunked

    @property
    def is_http_1_0(self) -> bool:
        """Whether the version is HTTP/1.0."""
        return self.parsed.is_http_1_0

    @property
    def options(self) -> frozenset[bytes]:
        """The options of `Connection`, in lower case."""
        return self.parsed.options

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again (RFC 9112 §9.3)."""
        return self.parsed.keeps_alive

    def get(self, key: bytes) -> bytes | None:
        """Return the first value of the field `key` (lower case), None when it is not there."""
        return next((value for found, _, value in self.fields if found == key), None)

    def get_all(self, key: bytes) -> list[bytes]:
        """Return every value of the field `key` (lower case)."""
        return [value for found, _, value in self.fields if found == key]


class RequestHead(_Head):
    """A request's head (RFC 9112 §3).

    `target` is path and query, byte for byte as received; of an absolute form the host is in
    `host` (§3.2.2). `raw_path` is `target` without the query.
    """

    __slots__ = ("host", "method", "raw_path", "target")

    def __init__(
        self,
        parsed: ParsedHead,
        target: bytes,
        host: bytes,
        volatile: VolatileFields = NO_VOLATILE_FIELDS,
        source: bytes = b"",
    ) -> None:
        self.parsed = parsed
        self.volatile = volatile
        self.source = source
        self.method = parsed.method
        self.target = target
        self.raw_path = target.partition(b"?")[0].decode("ascii")
        self.host = host

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow."""
        return self.parsed.has_body

    @property
    def length(self) -> int | None:
        """The declared length of the body in bytes, None where none is declared."""
        return self.parsed.length

    def __repr__(self) -> str:
        """Show the request line."""
        return f"<RequestHead {self.method.decode()} {self.target.decode()}>"


class ResponseHead(_Head):
    """A response's head (RFC 9112 §4)."""

    __slots__ = ("length", "reason", "status")

    def __init__(
        self, parsed: ParsedHead, volatile: VolatileFields = NO_VOLATILE_FIELDS, source: bytes = b""
    ) -> None:
        self.parsed = parsed
        self.volatile = volatile
        self.source = source
        self.length = parsed.length
        """The declared length of the body in bytes, None where none is declared."""
        for name, value in volatile.fields:
            if name in _LENGTH_NAMES:
                if self.length is not None:
                    raise Malformed("There is more than one Content-Length (RFC 9112 §6.3).")
                self.length = length_of(value)
        self.status = parsed.status
        self.reason = parsed.reason

    def has_no_body(self, method: bytes) -> bool:
        """Return whether no body follows whatever the fields say (RFC 9112 §6.3, 1)."""
        return method == b"HEAD" or self.status in (204, 304)

    def __repr__(self) -> str:
        """Show the status line."""
        return f"<ResponseHead {self.status} {self.reason.decode('latin-1')}>"


_requests = HeadCache(parse_request_head, _VOLATILE_IN_REQUESTS)
_responses = HeadCache(parse_response_head, _VOLATILE_IN_RESPONSES)


def parse_request(raw: bytes, before: RequestHead | None = None) -> RequestHead:
    """Parse a request's head. `before` is the one before it on the same connection: most are equal.

    Raises Malformed, HeadTooLarge, NotSupported (an unknown method) or VersionNotSupported.
    """
    method_end = raw.find(b" ")
    target_end = raw.find(b" ", method_end + 1)
    target = raw[method_end + 1 : target_end]
    if not _PLAIN.fullmatch(target):
        return _with_target(parse_request_head(raw))
    # heads that differ in nothing but such a target are equal
    source = raw[:method_end] + b" /" + raw[target_end:]
    if before is not None and source == before.source:
        return RequestHead(before.parsed, target, before.host, before.volatile, source)
    parsed, volatile = _requests.find(source)
    return RequestHead(parsed, target, parsed.hosts[0] if parsed.hosts else b"", volatile, source)


def parse_response(raw: bytes, before: ResponseHead | None = None) -> ResponseHead:
    """Parse a response's head. `before` is the one before it on the same connection.

    Raises Malformed.
    """
    if before is not None and raw == before.source:
        return before
    return ResponseHead(*_responses.find(raw), raw)


def _with_target(parsed: ParsedHead) -> RequestHead:
    """Take the path; the authority of an absolute form is the host (RFC 9112 §3.2.2)."""
    target = parsed.target
    host = parsed.hosts[0] if parsed.hosts else b""
    if absolute := _ABSOLUTE.fullmatch(target):
        host, target = absolute[1], absolute[2]
        if not is_host(host):
            raise Malformed("The host of the target is not valid (RFC 9110 §4.2).")
        target = target if target.startswith(b"/") else b"/" + target
    if not (_PLAIN.fullmatch(target) or _is_for_all(parsed)):
        raise Malformed("The target is not a path with a query (RFC 9112 §3.2.1).")
    return RequestHead(parsed, target, host)


def _is_for_all(parsed: ParsedHead) -> bool:
    """Return whether a request is about the server as a whole (RFC 9112 §3.2.4)."""
    return parsed.target == b"*" and parsed.method == b"OPTIONS"
