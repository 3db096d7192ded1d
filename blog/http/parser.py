"""Grammar: the bytes of a whole head → its block, or a refusal. Pure.

llhttp reads it; what two readers could still read differently is refused here.
"""

import re

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from blog.core.errors import BlogError, HeadTooLarge, Malformed, NotSupported, VersionNotSupported
from blog.http.limits import FIELD_LIMIT, HEAD_LIMIT
from blog.http.parsed_head import ParsedHead

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]*(?::[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?")
_VERSION = re.compile(rb" HTTP/(?!1\.[01]$)[0-9]\.[0-9]$")
_METHOD_START = re.compile(rb"[A-Z]")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?")


def read_request(raw: bytes) -> ParsedHead:
    """Read a request's head. Raises Malformed, HeadTooLarge, NotSupported or VersionNotSupported."""
    block = ParsedHead()
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


def read_answer(raw: bytes) -> ParsedHead:
    """Read an answer's head. Raises Malformed."""
    block = ParsedHead()
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


def refusal_of_beginning(data: bytes) -> BlogError | None:
    """Return why no request's head can begin with `data`, None if one can."""
    if len(data) > HEAD_LIMIT:
        return head_too_large()
    if data and (not _METHOD_START.match(data) or _BARE_LF.search(data)):
        return Malformed("This is not HTTP/1.1.")
    return None


def head_too_large() -> HeadTooLarge:
    """Make the error for a head over the limits."""
    return HeadTooLarge(f"Request line and headers: at most {HEAD_LIMIT} bytes in {FIELD_LIMIT} fields.")


def is_host(text: bytes) -> bool:
    """Tell whether `text` is a host, with or without a port (RFC 9110 §7.2)."""
    return _HOST.fullmatch(text) is not None


def _check_host(block: ParsedHead) -> None:
    """Exactly one Host; HTTP/1.0 may have none (RFC 9112 §3.2)."""
    if len(block.hosts) != 1 and not (block.is_http_1_0 and not block.hosts):
        raise Malformed("A request names exactly one Host (RFC 9112 §3.2).")
    if block.hosts and not is_host(block.hosts[0]):
        raise Malformed("The Host is none (RFC 9110 §7.2).")


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
