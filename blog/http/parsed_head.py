"""Block: what a head says, all but a request's target. What is ambiguous in it is refused. Pure.

The same bytes say the same: a block is read once and shared, so nobody writes to it afterwards.
"""

import re
from typing import TypeAlias

from blog.core.errors import Malformed
from blog.http.limits import MEMO_LIMIT

Field: TypeAlias = tuple[bytes, bytes, bytes]
"""A header field: its name in lower case, its name as it came, its value without outer blanks."""

_NO_OPTIONS: frozenset[bytes] = frozenset()
_LENGTH = re.compile(rb"[0-9]{1,18}")


def length_of(value: bytes) -> int:
    """Read a Content-Length (RFC 9112 §6.3). Raises Malformed."""
    if not _LENGTH.fullmatch(value):
        raise Malformed("The Content-Length is none (RFC 9112 §6.3).")
    return int(value)


class _LowerNames(dict[bytes, bytes]):
    """Names in lower case: everybody sends the same few, so each spelling is lowered once."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if len(self) < MEMO_LIMIT:
            self[name] = lower
        return lower


class _Options(dict[bytes, frozenset[bytes]]):
    """The connection options that a value of `Connection` names (RFC 9110 §7.6.1)."""

    def __missing__(self, value: bytes) -> frozenset[bytes]:
        options = frozenset(option.strip(b" \t").lower() for option in value.split(b",")) - {b""}
        if len(self) < MEMO_LIMIT:
            self[value] = options
        return options


_LOWER = _LowerNames()
_OPTIONS = _Options()


_NOTED = frozenset({b"host", b"connection", b"transfer-encoding", b"content-length"})


class ParsedHead:
    """All that a head says but a request's target: the same bytes say the same, so it is read once.

    `length` is the declared length of the body in bytes, None where none is declared. `options` are
    those of `Connection`, in lower case; the fields they name end at this hop. `derived` is what the
    application made of it: kept here, it is made once as well. Read-only once it is parsed.
    """

    __slots__ = (
        "_codings",
        "_is_whole",
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
        self._is_whole = False

    def on_url(self, url: bytes) -> None:
        """Take in the target (llhttp's callback)."""
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a field (llhttp's callback)."""
        key = _LOWER[name]
        self.fields.append((key, name, value))
        if key in _NOTED:
            self._note(key, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Note that llhttp saw a whole head (its callback)."""
        self._is_whole = True

    def _note(self, key: bytes, value: bytes) -> None:
        if key == b"host":
            self.hosts.append(value)
        elif key == b"connection":
            self.options |= _OPTIONS[value]
        elif key == b"transfer-encoding":
            self._codings.append(value.lower())
        else:
            self.length = length_of(value)

    def check(self, raw: bytes) -> None:
        """Refuse what llhttp lets pass: codings nobody knows, HTTP/1.0 with any, text that is none."""
        if not self._is_whole:
            raise Malformed("The head breaks off.")
        if self._codings:
            if self._codings != [b"chunked"]:
                raise Malformed("The only transfer coding that is known here is chunked.")
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
        raise Malformed("A header is no UTF-8.") from None
