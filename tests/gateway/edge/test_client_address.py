"""Who asks, where trusted proxies stand between."""

import pytest

from blog.gateway.edge.client_address import TrustedProxies

TRUSTED = TrustedProxies(("10.0.0.0/8", "fd00::/8", "192.0.2.1"))


@pytest.mark.parametrize(
    ("peer", "said", "expected"),
    [
        ("10.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [b"6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [b"6.6.6.6", b"203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        ("10.0.0.1", [b"10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"nonsense"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.7:4711"], "203.0.113.7"),
        ("fd00::1", [b"[2001:db8::7]:4711"], "2001:db8::7"),
        ("192.0.2.1", [b"203.0.113.7"], "203.0.113.7"),
        ("203.0.113.9", [b"6.6.6.6"], "203.0.113.9"),
        ("::ffff:10.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [b"::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [b"[::FFFF:cb00:7107]:80, ::ffff:10.0.0.2"], "203.0.113.7"),
    ],
)
def test_the_last_that_is_not_trusted_asks(peer: str, said: list[bytes], expected: str) -> None:
    """What comes before may be invented."""
    assert TRUSTED.client_of(peer, said) == expected


@pytest.mark.parametrize(
    ("cidr", "trusted", "other"),
    [
        ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("::/0", "2001:db8::1", "192.0.2.2"),
    ],
)
def test_a_network_may_be_written_as_ipv6(cidr: str, trusted: str, other: str) -> None:
    """As its addresses may."""
    assert TrustedProxies((cidr,)).trusts(trusted)
    assert not TrustedProxies((cidr,)).trusts(other)


def test_nobody_is_trusted_unasked() -> None:
    """Without networks every peer speaks for itself only."""
    assert not TrustedProxies(()).trusts("127.0.0.1")
    assert not TRUSTED.trusts("local")
