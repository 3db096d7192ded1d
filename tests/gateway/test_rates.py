"""How many writes a client may send."""

import pytest

from blog.gateway.rates import Rates, network_of


def test_a_client_may_write_in_bursts_and_then_at_its_rate() -> None:
    """Each by its own; who waits as long as it is told may write."""
    rates = Rates(2.0, 3)
    assert [rates.wait("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rates.wait("a", 0.0) == 0.5
    assert rates.wait("b", 0.0) == 0.0
    assert rates.wait("a", 0.25) == 0.25
    assert rates.wait("a", 0.5) == 0.0
    assert rates.wait("a", 0.5) > 0.0


def test_only_those_who_wrote_lately_are_remembered() -> None:
    """A full bucket is the same as none."""
    rates = Rates(1.0, 10)
    for client in range(50):
        rates.wait(f"10.0.0.{client}", 0.0)
    rates.wait("other", 10.0)
    assert repr(rates) == "<Rates: 1/s, 10 at once, 1 clients>"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", network_of("2001:db8:1:2::9")),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("fe80::1%eth0", network_of("fe80::2")),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, expected: str) -> None:
    """Within a /64 everybody has as many addresses as he likes."""
    assert network_of(address) == expected
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
