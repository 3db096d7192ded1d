"""Parser: the bytes of a complete head → a parsed head, or an error. Pure.

llhttp parses it; what two parsers could still read differently is refused here.
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


def parse_request_head(raw: bytes) -> ParsedHead:
    """Parse a request's head. Raises Malformed, HeadTooLarge, NotSupported or VersionNotSupported."""
    parsed = ParsedHead()
    parser = HttpRequestParser(parsed)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass  # the head is complete; the response decides what the connection becomes
    except HttpParserError as error:
        raise _request_error(raw, error) from None
    parsed.method = parser.get_method()
    line = raw[: raw.index(b"\r\n")]
    expected = parsed.method + b" " + parsed.target + b" HTTP/1.1"
    if line != expected:
        if line != expected[:-1] + b"0":
            raise _request_line_error(line)
        parsed.is_http_1_0 = True
    if len(parsed.fields) > FIELD_LIMIT or len(raw) > HEAD_LIMIT:
        raise head_too_large()
    parsed.check(raw)
    _check_host(parsed)
    if parsed.method == b"CONNECT":
        raise Malformed("CONNECT is not supported (RFC 9110 §9.3.6).")
    return parsed


def parse_response_head(raw: bytes) -> ParsedHead:
    """Parse a response's head. Raises Malformed."""
    parsed = ParsedHead()
    parser = HttpResponseParser(parsed)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise _parse_error(error) from None
    line = raw[: raw.index(b"\r\n")]
    if not _STATUS_LINE.fullmatch(line):
        raise Malformed("The status line is not valid (RFC 9112 §4).")
    parsed.status = parser.get_status_code()
    parsed.reason = line[13:]
    parsed.is_http_1_0 = line[7] == ord("0")
    parsed.check(raw)
    return parsed


def prefix_error(data: bytes) -> BlogError | None:
    """Return the error of a request whose head begins with `data`, None if it may become valid."""
    if len(data) > HEAD_LIMIT:
        return head_too_large()
    if data and (not _METHOD_START.match(data) or _BARE_LF.search(data)):
        return Malformed("This is not HTTP/1.1.")
    return None


def head_too_large() -> HeadTooLarge:
    """Return the error for a head over the limits."""
    return HeadTooLarge(f"Request line and headers: at most {HEAD_LIMIT} bytes in {FIELD_LIMIT} fields.")


def is_host(text: bytes) -> bool:
    """Return whether `text` is a host, with or without a port (RFC 9110 §7.2)."""
    return _HOST.fullmatch(text) is not None


def _check_host(parsed: ParsedHead) -> None:
    """Exactly one Host; HTTP/1.0 may have none (RFC 9112 §3.2)."""
    if len(parsed.hosts) != 1 and not (parsed.is_http_1_0 and not parsed.hosts):
        raise Malformed("A request must have exactly one Host (RFC 9112 §3.2).")
    if parsed.hosts and not is_host(parsed.hosts[0]):
        raise Malformed("The Host is not valid (RFC 9110 §7.2).")


def _request_error(raw: bytes, error: HttpParserError) -> BlogError:
    """Return our error for llhttp's."""
    if isinstance(error, HttpParserInvalidMethodError):
        word = raw.partition(b" ")[0]
        if word.isalpha() and word.isupper():
            return NotSupported("This method is not supported (RFC 9110 §9.1).")
    line = raw[: raw.index(b"\r\n")]
    if _VERSION.search(line):
        return _request_line_error(line)
    return _parse_error(error)


def _parse_error(error: HttpParserError) -> BlogError:
    """Return our own error, if one of our callbacks raised it."""
    if isinstance(error.__context__, BlogError):
        return error.__context__
    return Malformed(f"This is not HTTP/1.1: {error}.")


def _request_line_error(line: bytes) -> BlogError:
    if _VERSION.search(line):
        return VersionNotSupported("Only versions 1.1 and 1.0 of HTTP are supported.")
    return Malformed("The request line is not valid (RFC 9112 §3).")
