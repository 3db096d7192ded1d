"""What goes on, and what comes back."""

import pytest

from blog.gateway.proxy.headers import ClientHeaders, passed_loose, sort_answer, sort_request, trace_of
from blog.http.heads import parse_request, parse_response

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"b7ad6b7169203331"


def passed(*lines: str) -> bytes:
    """Return the lines of a request that go on."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: blog", *lines, ""))
    parsed = parse_request(head.encode())
    return sort_request(parsed).lines + passed_loose(parsed.loose)


def noted(*lines: str) -> dict[bytes, bytes]:
    """Return what is noted of a request."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: blog", *lines, ""))
    return sort_request(parse_request(head.encode())).noted


def returned(*lines: str, without_cors: bool = False) -> bytes:
    """Return the lines of an answer that go to the client."""
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, ""))
    parsed = parse_response(head.encode())
    return sort_answer(parsed, without_cors=without_cors).lines + passed_loose(parsed.loose)


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "Proxy-Connection"],
)
def test_hop_by_hop_fields_end_here(name: str) -> None:
    """RFC 9110 §7.6.1, both ways."""
    assert passed(f"{name}: x") == b""
    assert returned(f"{name}: x") == b""


def test_fields_named_by_connection_end_here() -> None:
    """In any case and any of several Connection fields."""
    given = ("Connection: close, X-One", "connection: x-two", "X-One: 1", "X-Two: 2", "X-Three: 3")
    assert passed(*given) == b"X-Three: 3\r\n"
    assert returned(*given) == b"X-Three: 3\r\n"


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-User", "x-forwarded-anything", "X-Real-IP",
        "Blog-Instance", "Expect", "X-Request-Id", "traceparent", "tracestate",
    ],
)  # fmt: skip
def test_a_client_cannot_speak_for_the_gateway(name: str) -> None:
    """What it says about forwarding or inner things is replaced or dropped."""
    assert passed(f"{name}: evil") == b""


def test_who_asks_is_told() -> None:
    """In both spellings; IPv6 addresses are quoted in Forwarded."""
    client = ClientHeaders("10.0.0.7", "http")
    assert client.lines(b"blog:8080") == (
        b"Host: blog:8080\r\nX-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: http\r\n"
        b'X-Forwarded-Host: blog:8080\r\nForwarded: for=10.0.0.7;host="blog:8080";proto=http\r\n'
    )
    assert b"Host: other\r\n" in client.lines(b"other")
    assert b'for="[::1]";' in ClientHeaders("::1", "https").lines(b"h")


def test_end_to_end_fields_pass() -> None:
    """As often as they come, in order, as they were written."""
    assert passed("Accept: a", "ACCEPT: b", "Idempotency-Key: k") == (
        b"Accept: a\r\nACCEPT: b\r\nIdempotency-Key: k\r\n"
    )
    assert returned("Set-Cookie: a=1", "Set-Cookie: b=2") == b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"


def test_an_instance_cannot_name_itself_to_clients() -> None:
    """Blog-Served-By is the gateway's, and so are the request's id and the length."""
    given = ("Blog-Served-By: me", "Blog-Instance: me", "X-Request-Id: mine", "Content-Length: 0")
    assert returned(*given) == b""


def test_sharing_across_sites_is_the_gateways_to_say() -> None:
    """Only where it says something itself."""
    given = ("Access-Control-Allow-Origin: *", "Vary: Accept")
    assert returned(*given) == b"Access-Control-Allow-Origin: *\r\nVary: Accept\r\n"
    assert returned(*given, without_cors=True) == b"Vary: Accept\r\n"


def bits(count: int) -> int:
    """Return what makes 128 the trace and 64 the span."""
    assert count == 192
    return 128 << 64 | 64


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2", True), ("", False), ("a b", False), ("x" * 129, False)]
)
def test_a_request_id_is_kept_if_well_formed(given: str, kept: bool) -> None:  # noqa: FBT001 - a table
    """Else it is that of the trace."""
    trace = trace_of(noted(f"X-Request-Id: {given}"), bits)
    assert trace.request_id == (given.encode() if kept else b"%032x" % 128)


STARTED = b"00-%032x-%016x-01" % (128, 64)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"00-%b-%b-01" % (TRACE, PARENT), b"00-%b-%016x-01" % (TRACE, 64)),
        (b"00-%b-%b-00" % (TRACE, PARENT), b"00-%b-%016x-00" % (TRACE, 64)),
        (b"01-%b-%b-01-more" % (TRACE, PARENT), b"00-%b-%016x-01" % (TRACE, 64)),
        (b"00-%b-%b-01-more" % (TRACE, PARENT), STARTED),
        (b"ff-%b-%b-01" % (TRACE, PARENT), STARTED),
        (b"00-%b-%b-01" % (b"0" * 32, PARENT), STARTED),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16), STARTED),
        (b"nonsense", STARTED),
    ],
)
def test_a_trace_is_continued_or_started(given: bytes, expected: bytes) -> None:
    """W3C Trace Context; of two traceparents none counts."""
    line = f"traceparent: {given.decode()}"
    assert trace_of(noted(line), bits).traceparent == expected
    assert trace_of(noted(line, line), bits).traceparent == STARTED
    assert trace_of({}, bits).traceparent == STARTED


def test_tracestate_goes_with_its_trace() -> None:
    """Without a trace to continue it means nothing."""
    parent = f"traceparent: 00-{TRACE.decode()}-{PARENT.decode()}-01"
    lines = trace_of(noted(parent, "tracestate: a=1", "tracestate: b=2"), bits).lines
    assert lines.endswith(b"tracestate: a=1,b=2\r\n")
    assert b"tracestate" not in trace_of(noted("tracestate: a=1"), bits).lines
