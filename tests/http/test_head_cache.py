"""Heads that are known mean what they mean when they are read in full."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.errors import BlogError, Malformed
from blog.http.heads import parse_request, parse_response
from blog.http.parser import parse_request_head, parse_response_head

LINES = [
    b"Host: blog", b"Accept: a", b"X: \xc3\xa4", b"X:", b"Cookie: a=1", b"Cookie: b=2", b"cookie: c=3",
    b"COOKIE: d=4", b"Cookie:  two blanks", b"Cookie: behind ", b"Cookie: \xc3\xa4", b"Cookie:",
    b"Referer: /",    b"Connection: cookie", b"Connection: close", b"Connection: keep-alive, ETag",
    b"Content-Length: 5",
    b"content-length: 5", b"CONTENT-LENGTH: 6", b"Content-Length: 0", b"Content-Length: +5",
    b"Content-Length: 5, 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b'ETag: "a"',
    b'etag: "b"', b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Request-Id: r", b" folded", b"no field",
    b"Cookie: a\x00b", b"Cookie: a\rb", b"Cookie : a",
]  # fmt: skip


def meaning(read: Any, *args: Any) -> Any:
    """Return all that was understood, or why it was not."""
    try:
        head = read(*args)
    except BlogError as error:
        return type(error)
    fields = sorted(
        head.fields, key=lambda field: field[0]
    )  # the order of names says nothing, that of equal ones does
    parsed = getattr(head, "parsed", head)
    return (
        fields, head.length, head.is_chunked, head.keeps_alive, parsed.hosts, head.options,
        parsed.method, parsed.status, parsed.reason,
    )  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=6), min_size=1, max_size=6))
def test_whatever_came_before(heads: list[list[bytes]]) -> None:
    """On the same connection, or on others, two times or ten: nothing is read differently for it."""
    request = answer = None
    for lines in [lines for lines in heads for _ in range(3)]:
        rest = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        asked, answered = b"GET / HTTP/1.1\r\nHost: blog\r\n" + rest, b"HTTP/1.1 200 OK\r\n" + rest
        assert meaning(parse_request, asked, request) == meaning(parse_request_head, asked)
        assert meaning(parse_response, answered, answer) == meaning(parse_response_head, answered)
        try:
            request = parse_request(asked, request)
            answer = parse_response(answered, answer)
        except BlogError:
            request = answer = None


def test_two_lengths_are_refused_wherever_they_are() -> None:
    """Equal ones too, and behind a head that is known."""
    for _ in range(3):
        parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        with pytest.raises(Malformed):
            parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
        with pytest.raises(Malformed):
            parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n")
        with pytest.raises(Malformed):
            parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_values_may_differ() -> None:
    """What is shared is the rest."""
    first, second, third = (
        parse_request(b"GET / HTTP/1.1\r\nHost: blog\r\nCookie: a=%d\r\nAccept: a\r\n\r\n" % number)
        for number in (1, 2, 3)
    )
    assert second.parsed is third.parsed
    assert [head.get(b"cookie") for head in (first, second, third)] == [b"a=1", b"a=2", b"a=3"]
    assert repr(third.volatile) == "<VolatileFields: ['Cookie']>"
