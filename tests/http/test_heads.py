"""What a head says, and what is no head."""

import pytest

from blog.core.errors import BlogError, HeadTooLarge, Malformed, NotSupported, VersionNotSupported
from blog.http.heads import parse_request, parse_response

HOST = b"Host: blog\r\n"


def request(line: bytes = b"GET / HTTP/1.1", fields: bytes = HOST) -> bytes:
    """Write a request's head."""
    return line + b"\r\n" + fields + b"\r\n"


def test_a_request_says_what_it_says() -> None:
    """Names in lower case for us, as they came for others; values without outer blanks."""
    head = parse_request(request(b"POST /a?b=%20 HTTP/1.1", HOST + b"X-One:\t a b \t\r\nx-one: c\r\n"))
    assert (head.method, head.target, head.raw_path, head.host) == (b"POST", b"/a?b=%20", "/a", b"blog")
    assert head.fields[1:] == [(b"x-one", b"X-One", b"a b"), (b"x-one", b"x-one", b"c")]
    assert (head.get(b"x-one"), head.get_all(b"x-one")) == (b"a b", [b"a b", b"c"])
    assert (head.length, head.is_chunked, head.has_body, head.keeps_alive) == (None, False, False, True)


def test_equal_heads_with_other_targets_are_told_apart() -> None:
    """What is remembered of a head is not its target."""
    first = [parse_request(request(b"GET /a HTTP/1.1")) for _ in range(3)][-1]
    second = parse_request(request(b"GET /b?c HTTP/1.1"))
    assert first.parsed is second.parsed
    assert (first.target, second.target, second.raw_path) == (b"/a", b"/b?c", "/b")
    assert parse_request(request(b"HEAD /a HTTP/1.1")).method == b"HEAD"
    assert parse_request(request(b"GET /a HTTP/1.0")).is_http_1_0


@pytest.mark.parametrize(
    "target", [b"/a b", b"/\x7f", b"/\xc3\xa4", b"/a#b", b"a", b"", b"/a\tb", b"/\x00"]
)
def test_a_bad_target_is_refused_behind_a_known_head_too(target: bytes) -> None:
    """Remembering makes nothing less strict."""
    for _ in range(2):
        parse_request(request(b"GET /fine HTTP/1.1"))
        with pytest.raises(Malformed):
            parse_request(request(b"GET " + target + b" HTTP/1.1"))


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        (b"GET http://other:81/a?b HTTP/1.1", HOST, (b"/a?b", b"other:81")),
        (b"GET HTTP://other HTTP/1.1", HOST, (b"/", b"other")),
        (b"GET http://other?q HTTP/1.1", HOST, (b"/?q", b"other")),
        (b"OPTIONS * HTTP/1.1", HOST, (b"*", b"blog")),
        (b"GET / HTTP/1.0", b"", (b"/", b"")),
        (b"GET / HTTP/1.1", b"Host: [::1]:80\r\n", (b"/", b"[::1]:80")),
        (b"GET / HTTP/1.1", b"Host:\r\n", (b"/", b"")),
    ],
)
def test_where_a_request_goes(line: bytes, fields: bytes, expected: tuple[bytes, bytes]) -> None:
    """Absolute forms bring their host (RFC 9112 §3.2.2); HTTP/1.0 may name none."""
    head = parse_request(request(line, fields))
    assert (head.target, head.host) == expected


@pytest.mark.parametrize(
    ("line", "fields", "error"),
    [
        (b"GET / HTTP/1.1", b"", Malformed),
        (b"GET / HTTP/1.1", HOST + HOST, Malformed),
        (b"GET / HTTP/1.1", b"Host: user@blog\r\n", Malformed),
        (b"GET / HTTP/1.1", b'Host: a"b\r\n', Malformed),
        (b"GET / HTTP/1.1", b"Host: a b\r\n", Malformed),
        (b"GET / HTTP/1.1", HOST + b"X: \xff\r\n", Malformed),
        (b"GET / HTTP/1.1", HOST + b"Transfer-Encoding: gzip, chunked\r\n", Malformed),
        (
            b"GET / HTTP/1.1",
            HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Malformed,
        ),
        (b"GET / HTTP/1.0", b"Transfer-Encoding: chunked\r\n", Malformed),
        (b"GET / HTTP/1.1", HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Malformed),
        (b"GET / HTTP/1.1", HOST + b"Content-Length: 9999999999999999999\r\n", Malformed),
        (b"GET  / HTTP/1.1", HOST, Malformed),
        (b"GET / HTTP/1.1 ", HOST, Malformed),
        (b"GET /", HOST, Malformed),
        (b"GET / HTTP/1.2", HOST, VersionNotSupported),
        (b"GET / HTTP/2.0", HOST, VersionNotSupported),
        (b"FETCH / HTTP/1.1", HOST, NotSupported),
        (b"get / HTTP/1.1", HOST, Malformed),
        (b"CONNECT blog:80 HTTP/1.1", HOST, Malformed),
        (b"GET http:///a HTTP/1.1", HOST, Malformed),
        (b"GET http://u@h/a HTTP/1.1", HOST, Malformed),
        (b"GET / HTTP/1.1", HOST + b"X: y\r\n" * 99, None),
        (b"GET / HTTP/1.1", HOST + b"X: y\r\n" * 100, HeadTooLarge),
        (b"GET / HTTP/1.1", HOST + b"X: " + b"y" * 32768 + b"\r\n", HeadTooLarge),
        (b"GET / HTTP/1.1", HOST + "X: ä\r\n".encode(), None),
    ],
)
def test_heads_that_are_refused(line: bytes, fields: bytes, error: type[BlogError] | None) -> None:
    """Each by its own error, twice the same."""
    for _ in range(2):
        if error is None:
            parse_request(request(line, fields))
        else:
            with pytest.raises(error):
                parse_request(request(line, fields))


@pytest.mark.parametrize(
    ("line", "fields", "keeps"),
    [
        (b"GET / HTTP/1.1", HOST, True),
        (b"GET / HTTP/1.1", HOST + b"Connection: x, Close\r\n", False),
        (b"GET / HTTP/1.1", HOST + b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0", HOST, False),
        (b"GET / HTTP/1.0", HOST + b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_whether_a_connection_lives_on(line: bytes, fields: bytes, keeps: bool) -> None:  # noqa: FBT001 - a table
    """RFC 9112 §9.3."""
    assert parse_request(request(line, fields)).keeps_alive is keeps


def test_an_answer_says_what_it_says() -> None:
    """With or without a reason."""
    head = parse_response(b"HTTP/1.1 404 Not there\r\nContent-Length: 5\r\n\r\n")
    assert (head.status, head.reason, head.length, head.keeps_alive) == (404, b"Not there", 5, True)
    assert parse_response(b"HTTP/1.0 200\r\n\r\n").keeps_alive is False


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x01K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_answers_that_are_none(raw: bytes) -> None:
    """As strictly as requests."""
    with pytest.raises(Malformed):
        parse_response(raw)
