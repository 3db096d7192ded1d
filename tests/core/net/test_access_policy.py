"""Who may ask for what: with a token, and in protected mode."""

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from blog.core.errors import Forbidden, Unauthorized
from blog.core.net.access_policy import PROXY_HEADERS, Access, AccessPolicy
from blog.core.net.local_networks import LocalNetworks
from blog.core.web import BROWSER_HEADERS

TOKEN = "token-of-a-test-blog"
SENT = {"Authorization": f"Bearer {TOKEN}"}
NEAR = "10.1.0.9"


class OneNetwork(LocalNetworks):
    """A machine with one private network."""

    def contains(self, host: str) -> bool:
        """Return whether it is in 10.1.0.0/16."""
        return host.startswith("10.1.")


def refusal(
    access: Access, peer: str, headers: dict[str, str] | None = None, *tokens: str
) -> type[Exception] | None:
    """Return which error a request gets, if any."""
    policy = AccessPolicy(tokens, OneNetwork())
    try:
        policy.check(access, peer=peer, headers=CIMultiDict(headers or {}))
    except (Forbidden, Unauthorized) as error:
        return type(error)
    return None


ALL = tuple(Access)
INNER = (Access.INTERNAL, Access.OPERATOR)


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_this_machine_may_do_everything(access: Access, peer: str) -> None:
    """Over each of its loopback addresses."""
    assert refusal(access, peer) is None


@pytest.mark.parametrize("access", [Access.PUBLIC, Access.INTERNAL])
def test_without_a_token_the_private_network_gets_a_response(access: Access) -> None:
    """Containers of one network work together."""
    assert refusal(access, NEAR) is None


@pytest.mark.parametrize("peer", ["192.0.2.1", "8.8.8.8", "2001:db8::1", "10.2.0.1", "", "a name"])
def test_without_a_token_nobody_else_does(peer: str) -> None:
    """Nor who is not known: a connection that was reset at once has no peer."""
    for access in (Access.PUBLIC, *INNER):
        assert refusal(access, peer) is Forbidden
        assert refusal(access, peer, {"Blog-Instance": "posts-1", **SENT}) is Forbidden
    assert refusal(Access.PROBE, peer) is None


def test_without_a_token_what_decides_is_for_this_machine_alone() -> None:
    """Somebody in the network cannot discard what is dead."""
    assert refusal(Access.OPERATOR, NEAR) is Forbidden


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("name", [*BROWSER_HEADERS, "origin", "SEC-FETCH-SITE"])
@pytest.mark.parametrize("value", ["null", "http://127.0.0.1:4000", "same-origin", "none", ""])
def test_without_a_token_no_web_page_gets_a_response(access: Access, name: str, value: str) -> None:
    """Whatever it says of itself, from this machine too: a browser runs there."""
    assert refusal(access, "127.0.0.1", {name: value}) is Forbidden


def test_a_page_of_a_reader_comes_through_the_gateway() -> None:
    """It passes the headers on, and names the instance that it means: no page can do that."""
    headers = {
        "Origin": "https://blog.example",
        "Sec-Fetch-Site": "same-origin",
        "Blog-Instance": "web-1",
    }
    assert refusal(Access.PUBLIC, NEAR, headers) is None
    for access in INNER:
        assert refusal(access, NEAR, headers) is Forbidden
        assert refusal(access, "127.0.0.1", headers) is Forbidden


@pytest.mark.parametrize("name", PROXY_HEADERS)
def test_through_a_proxy_nobody_is_this_machine(name: str) -> None:
    """A proxy beside a process has its loopback address, and asks for everybody."""
    for access in INNER:
        assert refusal(access, "127.0.0.1", {name: "203.0.113.9"}) is Forbidden
    assert refusal(Access.OPERATOR, "127.0.0.1", {name: "x", **SENT}, TOKEN) is Forbidden


@pytest.mark.parametrize("peer", ["127.0.0.1", NEAR, "8.8.8.8", ""])
def test_with_a_token_it_decides_and_nothing_else(peer: str) -> None:
    """Wherever it comes from; probes and public routes need none."""
    for access in INNER:
        assert refusal(access, peer, {}, TOKEN) is Unauthorized
        assert refusal(access, peer, {"Authorization": f"Bearer {TOKEN}x"}, TOKEN) is Unauthorized
        assert refusal(access, peer, SENT, TOKEN) is None
    assert refusal(Access.PROBE, peer, {}, TOKEN) is None
    assert refusal(Access.PUBLIC, peer, {}, TOKEN) is None


@pytest.mark.parametrize("name", BROWSER_HEADERS)
def test_no_web_page_is_an_operator_with_or_without_the_token(name: str) -> None:
    """A page that got hold of it may still not do what only an operator may."""
    assert refusal(Access.OPERATOR, NEAR, {name: "null", **SENT}, TOKEN) is Forbidden


def test_a_refusal_is_logged_once_a_minute_for_each_peer() -> None:
    """A stranger cannot fill the log, and the other ones are seen."""
    now = 0.0
    policy = AccessPolicy((TOKEN,), now=lambda: now)

    def ask(peer: str) -> None:
        with pytest.raises(Unauthorized):
            policy.check(Access.INTERNAL, peer=peer, headers=CIMultiDict(), route="/v1/session")

    with capture_logs() as lines:
        for _ in range(3):
            ask("10.0.0.1")
        ask("10.0.0.2")
        now = 61.0
        ask("10.0.0.1")
    assert [line["peer"] for line in lines] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert all("BLOG_TOKEN" in line["reason"] and line["route"] == "/v1/session" for line in lines)
    assert TOKEN not in str(lines) + repr(policy)


@pytest.mark.parametrize(
    ("peer", "tokens", "is_trusted"),
    [
        ("127.0.0.1", (), True),
        ("::1", (), True),
        (NEAR, (), False),
        ("", (), False),
        (NEAR, (TOKEN,), True),
    ],
)
def test_whose_claims_count(peer: str, tokens: tuple[str, ...], *, is_trusted: bool) -> None:
    """Everybody's who has the token; without one this machine's."""
    assert AccessPolicy(tokens, OneNetwork()).is_trusted(peer) is is_trusted


NODE = {"Accept-Language": "*", "Sec-Fetch-Mode": "cors", "User-Agent": "node"}


@pytest.mark.parametrize("access", ALL)
def test_a_program_whose_fetch_is_like_a_browsers_is_none(access: Access) -> None:
    """Node.js sends two of its headers, and a page cannot leave out the others; an operator uses ours."""
    expected = Forbidden if access is Access.OPERATOR else None
    assert refusal(access, "127.0.0.1", NODE) is expected
    for name in ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Dest"):
        assert refusal(access, "127.0.0.1", NODE | {name: "x"}) is Forbidden
    assert refusal(access, "127.0.0.1", {"Accept-Language": "*"}) is Forbidden
