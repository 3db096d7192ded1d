"""Heads: the bytes of a request's or answer's head → what they say, or a refusal. Pure.

llhttp reads the grammar; what two readers could still read differently is refused here. A head is
given whole, up to and with its empty line, so that nothing of what follows is ever parsed with it.
"""

import re
from typing import TypeAlias

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from blog.core.errors import BlogError, HeadTooLarge, Malformed, NotSupported, VersionNotSupported
from blog.http.known import NOTHING_LOOSE, KnownHeads, Loose
from blog.http.limits import FIELD_LIMIT, HEAD_LIMIT

Field: TypeAlias = tuple[bytes, bytes, bytes]
"""A header field: its name in lower case, its name as it came, its value without outer blanks."""

END = b"\r\n\r\n"
NO_OPTIONS: frozenset[bytes] = frozenset()

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]*(?::[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)
_VERSION = re.compile(rb" HTTP/(?!1\.[01]$)[0-9]\.[0-9]$")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_PLAIN = re.compile(rb"/[!\"$-~]*")
_MEMO_LIMIT = 1024
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


class _Lower(dict[bytes, bytes]):
    """Names in lower case: everybody sends the same few, so each spelling is lowered once."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if len(self) < _MEMO_LIMIT:
            self[name] = lower
        return lower


class _Options(dict[bytes, frozenset[bytes]]):
    """The connection options that a value of `Connection` names (RFC 9110 §7.6.1)."""

    def __missing__(self, value: bytes) -> frozenset[bytes]:
        options = frozenset(option.strip(b" \t").lower() for option in value.split(b",")) - {b""}
        if len(self) < _MEMO_LIMIT:
            self[value] = options
        return options


_LOWER = _Lower()
_OPTIONS = _Options()


_NOTED = frozenset({b"host", b"connection", b"transfer-encoding", b"content-length"})


class Block:
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
        self.options = NO_OPTIONS
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
        elif _LENGTH.fullmatch(value):
            self.length = int(value)
        else:
            raise Malformed("The Content-Length is none (RFC 9112 §6.3).")

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


class _Head:
    """What both kinds of heads can be asked."""

    __slots__ = ("block", "loose", "said")

    block: Block
    loose: Loose
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
        block: Block,
        target: bytes,
        host: bytes,
        loose: Loose = NOTHING_LOOSE,
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


class AnswerHead(_Head):
    """An answer's head (RFC 9112 §4)."""

    __slots__ = ("length", "reason", "status")

    def __init__(self, block: Block, loose: Loose = NOTHING_LOOSE, said: bytes = b"") -> None:
        self.block = block
        self.loose = loose
        self.said = said
        self.length = block.length
        """The declared length of the body in bytes, None where none is declared."""
        for name, value in loose.fields:
            if name in _LENGTH_NAMES:
                if self.length is not None or not _LENGTH.fullmatch(value):
                    raise Malformed("There is no one Content-Length (RFC 9112 §6.3).")
                self.length = int(value)
        self.status = block.status
        self.reason = block.reason

    def has_no_body(self, method: bytes) -> bool:
        """Tell whether no body follows whatever the fields say (RFC 9112 §6.3, 1)."""
        return method == b"HEAD" or self.status in (204, 304)

    def __repr__(self) -> str:
        """Show the status line."""
        return f"<AnswerHead {self.status} {self.reason.decode('latin-1')}>"


def _read_request(raw: bytes) -> Block:
    block = Block()
    parser = HttpRequestParser(block)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass  # the head is whole; what the connection becomes is decided by the answer
    except HttpParserError as error:
        raise _refusal(raw, error) from None
    block.method = parser.get_method()
    line = raw[: raw.index(b"\r\n")]
    expected = block.method + b" " + block.target + b" HTTP/1.1"
    if line != expected:
        if line != expected[:-1] + b"0":
            raise _bad_line(line)
        block.is_http_1_0 = True
    if len(block.fields) > FIELD_LIMIT or len(raw) > HEAD_LIMIT:
        raise head_too_large()
    block.check(raw)
    _check_host(block)
    if block.method == b"CONNECT":
        raise Malformed("Nobody is connected to others here (RFC 9110 §9.3.6).")
    return block


def _read_answer(raw: bytes) -> Block:
    block = Block()
    parser = HttpResponseParser(block)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise _cause(error) from None
    line = raw[: raw.index(b"\r\n")]
    if not _STATUS_LINE.fullmatch(line):
        raise Malformed("The status line is none (RFC 9112 §4).")
    block.status = parser.get_status_code()
    block.reason = line[13:]
    block.is_http_1_0 = line[7] == ord("0")
    block.check(raw)
    return block


def head_too_large() -> HeadTooLarge:
    """Make the error for a head over the limits."""
    return HeadTooLarge(f"Request line and headers: at most {HEAD_LIMIT} bytes in {FIELD_LIMIT} fields.")


def _check_host(block: Block) -> None:
    """Exactly one Host; HTTP/1.0 may have none (RFC 9112 §3.2)."""
    if len(block.hosts) != 1 and not (block.is_http_1_0 and not block.hosts):
        raise Malformed("A request names exactly one Host (RFC 9112 §3.2).")
    if block.hosts and not _HOST.fullmatch(block.hosts[0]):
        raise Malformed("The Host is none (RFC 9110 §7.2).")


def _with_target(block: Block) -> RequestHead:
    """Take the path; the authority of an absolute form is the host (RFC 9112 §3.2.2)."""
    target = block.target
    host = block.hosts[0] if block.hosts else b""
    if absolute := _ABSOLUTE.fullmatch(target):
        host, target = absolute[1], absolute[2]
        if not _HOST.fullmatch(host):
            raise Malformed("The target's host is none (RFC 9110 §4.2).")
        target = target if target.startswith(b"/") else b"/" + target
    if not (_PLAIN.fullmatch(target) or _is_for_all(block)):
        raise Malformed("The target is no path and query (RFC 9112 §3.2.1).")
    return RequestHead(block, target, host)


def _is_for_all(block: Block) -> bool:
    """Tell whether a request is about the server as a whole (RFC 9112 §3.2.4)."""
    return block.target == b"*" and block.method == b"OPTIONS"


def _refusal(raw: bytes, error: HttpParserError) -> BlogError:
    """Make our error of llhttp's."""
    if isinstance(error, HttpParserInvalidMethodError):
        word = raw.partition(b" ")[0]
        if word.isalpha() and word.isupper():
            return NotSupported("This method is not known here (RFC 9110 §9.1).")
    line = raw[: raw.index(b"\r\n")]
    if _VERSION.search(line):
        return _bad_line(line)
    return _cause(error)


def _cause(error: HttpParserError) -> BlogError:
    """Return our own error, if one of our callbacks raised it."""
    if isinstance(error.__context__, BlogError):
        return error.__context__
    return Malformed(f"This is not HTTP/1.1: {error}.")


def _bad_line(line: bytes) -> BlogError:
    if _VERSION.search(line):
        return VersionNotSupported("Versions 1.1 and 1.0 of HTTP are spoken here.")
    return Malformed("The request line is none (RFC 9112 §3).")


def _require_text(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise Malformed("A header is no UTF-8.") from None


_requests = KnownHeads(_read_request, _LOOSE_IN_REQUESTS)
_answers = KnownHeads(_read_answer, _LOOSE_IN_ANSWERS)


def parse_request(raw: bytes, before: RequestHead | None = None) -> RequestHead:
    """Read a request's head. `before` is the one before it on the same connection: most are equal.

    Raises Malformed, HeadTooLarge, NotSupported (a method nobody knows) or VersionNotSupported.
    """
    method_end = raw.find(b" ")
    target_end = raw.find(b" ", method_end + 1)
    target = raw[method_end + 1 : target_end]
    if not _PLAIN.fullmatch(target):
        return _with_target(_read_request(raw))
    # heads that differ in nothing but such a target are equal
    said = raw[:method_end] + b" /" + raw[target_end:]
    if before is not None and said == before.said:
        return RequestHead(before.block, target, before.host, before.loose, said)
    block, loose = _requests.find(said)
    return RequestHead(block, target, block.hosts[0] if block.hosts else b"", loose, said)


def parse_answer(raw: bytes, before: AnswerHead | None = None) -> AnswerHead:
    """Read an answer's head. `before` is the one before it on the same connection.

    Raises Malformed when it is none.
    """
    if before is not None and raw == before.said:
        return before
    return AnswerHead(*_answers.find(raw), raw)
