"""Parsed head: what a head says, all but a request's target. What is ambiguous in it is refused. Pure.

Equal bytes mean the same: a head is parsed once and shared, so nothing writes to it afterwards.
"""

import re
from typing import TypeAlias

from blog.core.errors import Malformed
from blog.http.limits import CACHE_LIMIT

Field: TypeAlias = tuple[bytes, bytes, bytes]
"""A header field: its name in lower case, its name as received, its value without outer blanks."""

_NO_OPTIONS: frozenset[bytes] = frozenset()
_LENGTH = re.compile(rb"[0-9]{1,18}")


def length_of(value: bytes) -> int:
    """Parse a Content-Length (RFC 9112 §6.3). Raises Malformed."""
    if not _LENGTH.fullmatch(value):
        raise Malformed("The Content-Length is not valid (RFC 9112 §6.3).")
    return int(value)


class _LowerNames(dict[bytes, bytes]):
    """Names in lower case: all clients send the same few, so each spelling is converted once."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if len(self) < CACHE_LIMIT:
            self[name] = lower
        return lower


class _Options(dict[bytes, frozenset[bytes]]):
    """The connection options that a value of `Connection` names (RFC 9110 §7.6.1)."""

    def __missing__(self, value: bytes) -> frozenset[bytes]:
        options = frozenset(option.strip(b" \t").lower() for option in value.split(b",")) - {b""}
        if len(self) < CACHE_LIMIT:
            self[value] = options
        return options


_LOWER = _LowerNames()
_OPTIONS = _Options()


_INTERPRETED = frozenset({b"host", b"connection", b"transfer-encoding", b"content-length"})


class ParsedHead:
    """All that a head says but a request's target. Read-only once it is parsed.

    `length` is the declared length of the body in bytes, None where none is declared. `options` are
    those of `Connection`, in lower case; the fields they name end at this hop. `derived` is what the
    application made from it: kept here, it is made once as well.
    """

    __slots__ = (
        "_codings",
        "_is_complete",
        "derived",
        "fields",
        "has_body",
        "hosts",
        "is_chunked",
        "is_http_1_0",
        "keeps_alive",
        "length",
        "method",
        "options",
        "reason",
        "status",
        "target",
    )

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.length: int | None = None
        self.is_chunked = False
        self.has_body = False
        self.is_http_1_0 = False
        self.keeps_alive = True
        self.options = _NO_OPTIONS
        self.hosts: list[bytes] = []
        self.method = b""
        self.target = b""
        self.status = 0
        self.reason = b""
        self.derived: object = None
        self._codings: list[bytes] = []
        self._is_complete = False

    def on_url(self, url: bytes) -> None:
        """Store the target (llhttp's callback)."""
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a field (llhttp's callback)."""
        key = _LOWER[name]
        self.fields.append((key, name, value))
        if key in _INTERPRETED:
            self._interpret(key, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Note that the head is complete (llhttp's callback)."""
        self._is_complete = True

    def _interpret(self, key: bytes, value: bytes) -> None:
        if key == b"host":
            self.hosts.append(value)
        elif key == b"connection":
            self.options |= _OPTIONS[value]
        elif key == b"transfer-encoding":
            self._codings.append(value.lower())
        else:
            self.length = length_of(value)

    def check(self, raw: bytes) -> None:
        """Refuse what llhttp accepts: unknown codings, any with HTTP/1.0, fields that are not UTF-8."""
        if not self._is_complete:
            raise Malformed("The head is incomplete.")
        if self._codings:
            if self._codings != [b"chunked"]:
                raise Malformed("The only supported transfer coding is chunked (RFC 9112 §6.1).")
            if self.is_http_1_0:
                raise Malformed("HTTP/1.0 has no Transfer-Encoding (RFC 9112 §6.1).")
            if self.length is not None:
                raise Malformed("Content-Length beside Transfer-Encoding (RFC 9112 §6.3).")
            self.is_chunked = True
        if b" \r\n" in raw or b"\t\r\n" in raw:
            self.fields = [(key, name, value.rstrip(b" \t")) for key, name, value in self.fields]
        if not raw.isascii():
            _require_text(raw)
        self.has_body = self.is_chunked or bool(self.length)
        options = self.options
        self.keeps_alive = b"keep-alive" in options if self.is_http_1_0 else b"close" not in options


def _require_text(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise Malformed("A header field is not valid UTF-8.") from None
