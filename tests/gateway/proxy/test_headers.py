"""What is forwarded, and what is returned."""

import pytest

from blog.gateway.proxy.headers import ClientHeaders, filter_request, filter_response, forward_volatile
from blog.http.heads import parse_request, parse_response


def forwarded(*lines: str) -> bytes:
    """Return the lines of a request that are forwarded."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: blog", *lines, ""))
    parsed = parse_request(head.encode())
    return filter_request(parsed).lines + forward_volatile(parsed.volatile)


def returned(*lines: str, without_cors: bool = False) -> bytes:
    """Return the lines of a response that go to the client."""
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, ""))
    parsed = parse_response(head.encode())
    return filter_response(parsed, without_cors=without_cors).lines + forward_volatile(parsed.volatile)


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "Proxy-Connection"],
)
def test_hop_by_hop_fields_end_here(name: str) -> None:
    """RFC 9110 §7.6.1, both ways."""
    assert forwarded(f"{name}: x") == b""
    assert returned(f"{name}: x") == b""


def test_fields_named_by_connection_end_here() -> None:
    """In any case and any of several Connection fields."""
    given = ("Connection: close, X-One", "connection: x-two", "X-One: 1", "X-Two: 2", "X-Three: 3")
    assert forwarded(*given) == b"X-Three: 3\r\n"
    assert returned(*given) == b"X-Three: 3\r\n"


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-User", "x-forwarded-anything", "X-Real-IP",
        "Blog-Instance", "Expect", "X-Request-Id", "traceparent", "tracestate",
    ],
)  # fmt: skip
def test_a_client_cannot_speak_for_the_gateway(name: str) -> None:
    """What it says about forwarding or internal fields is replaced or dropped."""
    assert forwarded(f"{name}: evil") == b""


def test_the_client_is_named() -> None:
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
    assert forwarded("Accept: a", "ACCEPT: b", "Idempotency-Key: k") == (
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
