"""What goes on, what comes back, what is refused."""

import pytest
from multidict import CIMultiDict

from blog.core.errors import HeadTooLarge, Malformed
from blog.gateway.headers import (
    Client,
    check_head,
    request_id,
    to_client,
    to_instance,
    traceparent,
)

CLIENT = Client("10.0.0.7", "http", "blog.example:8080")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def forwarded(
    *fields: tuple[str, str], client: Client = CLIENT, in_trace: bool = False
) -> CIMultiDict[str]:
    """Return what an instance gets of `fields`."""
    return to_instance(CIMultiDict(fields), client, {"X-Request-Id": "r1"}, in_trace=in_trace)


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization"],
)
def test_hop_by_hop_fields_end_here(name: str) -> None:
    """RFC 9110 §7.6.1, both ways."""
    assert name not in forwarded((name, "x"))
    assert name not in to_client(CIMultiDict([(name, "x")]), {})


def test_fields_named_by_connection_end_here() -> None:
    """In any case and any of several Connection fields."""
    given = [("Connection", "close, X-One"), ("connection", "x-two"), ("X-One", "1"), ("X-Two", "2")]
    assert not {"X-One", "X-Two"} & forwarded(*given).keys()


@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-User", "X-Real-IP", "Blog-Instance", "Expect"]
)
def test_a_client_cannot_speak_for_the_gateway(name: str) -> None:
    """What it says about forwarding or inner things is replaced or dropped."""
    assert "evil" not in forwarded((name, "evil")).getall(name, [])


def test_who_asks_is_told() -> None:
    """In both spellings; IPv6 addresses are quoted in Forwarded."""
    got = forwarded(("Host", "blog.example:8080"))
    assert got["X-Forwarded-For"] == "10.0.0.7"
    assert got["X-Forwarded-Proto"] == "http"
    assert got["X-Forwarded-Host"] == got["Host"] == "blog.example:8080"
    assert got["Forwarded"] == 'for=10.0.0.7;host="blog.example:8080";proto=http'
    assert forwarded(client=Client("::1", "http", "h"))["Forwarded"].startswith('for="[::1]";')


def test_end_to_end_fields_pass() -> None:
    """As often as they come, in order."""
    got = forwarded(("Accept", "a"), ("Accept", "b"), ("Idempotency-Key", "k"))
    assert got.getall("Accept") == ["a", "b"]
    assert got["Idempotency-Key"] == "k"
    back = to_client(CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]), {})
    assert back.getall("Set-Cookie") == ["a=1", "b=2"]


def test_an_instance_cannot_name_itself_to_clients() -> None:
    """Blog-Served-By is the gateway's."""
    back = to_client(CIMultiDict([("Blog-Served-By", "me")]), {"Blog-Served-By": "posts/p1"})
    assert back.getall("Blog-Served-By") == ["posts/p1"]


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2", True), (None, False), ("", False), ("a b", False), ("x" * 129, False)]
)
def test_a_request_id_is_kept_if_well_formed(given: str | None, kept: bool) -> None:  # noqa: FBT001 - a table
    """Else one is made."""
    assert request_id(given, lambda: "made") == (given if kept else "made")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", (f"00-{TRACE}-88-01", True)),
        (f"00-{TRACE}-b7ad6b7169203331-00", (f"00-{TRACE}-88-00", True)),
        (f"01-{TRACE}-b7ad6b7169203331-01-more", (f"00-{TRACE}-88-01", True)),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", ("00-1616-88-01", False)),
        (f"ff-{TRACE}-b7ad6b7169203331-01", ("00-1616-88-01", False)),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ("00-1616-88-01", False)),
        (f"00-{TRACE}-{'0' * 16}-01", ("00-1616-88-01", False)),
        ("nonsense", ("00-1616-88-01", False)),
        (None, ("00-1616-88-01", False)),
    ],
)
def test_a_trace_is_continued_or_started(given: str | None, expected: tuple[str, bool]) -> None:
    """W3C Trace Context; `random_hex(n)` is spelt nn here."""
    assert traceparent(given, lambda count: str(count) * 2) == expected


def test_tracestate_goes_with_its_trace() -> None:
    """Without a trace to continue it means nothing."""
    assert forwarded(("tracestate", "a=1"), in_trace=True)["tracestate"] == "a=1"
    assert "tracestate" not in forwarded(("tracestate", "a=1"))


HOST = (b"Host", b"blog")


@pytest.mark.parametrize(
    ("fields", "is_http_1_0", "error"),
    [
        ([HOST], False, None),
        ([], True, None),
        ([], False, Malformed),
        ([HOST, HOST], False, Malformed),
        ([(b"Host", b'a"b')], False, Malformed),
        ([(b"Host", b"user@blog")], False, Malformed),
        ([HOST, (b"X", b"\xff")], False, Malformed),
        ([HOST, (b"X", "ä".encode())], False, None),
        ([HOST, (b"Transfer-Encoding", b"chunked")], True, Malformed),
        ([HOST, *[(b"X", b"")] * 99], False, None),
        ([HOST, *[(b"X", b"")] * 100], False, HeadTooLarge),
        ([HOST, (b"X", b"x" * 32768)], False, HeadTooLarge),
    ],
)
def test_heads_that_are_refused(
    fields: list[tuple[bytes, bytes]],
    is_http_1_0: bool,  # noqa: FBT001 - a table
    error: type[Exception] | None,
) -> None:
    """Too large is 431, ambiguous is 400."""
    if error is None:
        check_head("/", fields, is_http_1_0=is_http_1_0)
    else:
        with pytest.raises(error):
            check_head("/", fields, is_http_1_0=is_http_1_0)
