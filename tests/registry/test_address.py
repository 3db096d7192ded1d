"""What others should dial, and what to set when that does not work."""

import pytest

from blog.registry.address import advice, announced_address


@pytest.mark.parametrize(
    ("bound", "local", "expected"),
    [
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000"),  # everything on one machine
        ("0.0.0.0:8000", "172.18.0.3", "172.18.0.3:8000"),  # a container in a network of Docker's
        ("0.0.0.0:8000", "192.168.7.2", "192.168.7.2:8000"),  # the interface that leads to the registry
        ("10.0.0.5:8000", "192.168.7.2", "10.0.0.5:8000"),  # it listens there, and nowhere else
        ("[::]:8000", "10.0.0.5", "10.0.0.5:8000"),
        ("[::]:8000", "::ffff:10.0.0.5", "10.0.0.5:8000"),  # IPv4, seen through a socket of IPv6
        ("0.0.0.0:8000", "fd00::5", "[fd00::5]:8000"),
        ("[fd00::7]:8000", "fd00::5", "[fd00::7]:8000"),
        ("[::]:8000", "fe80::5%eth0", "[fe80::5]:8000"),  # no other can dial it, which it will be told
        ("127.0.0.1:8000", "10.0.0.5", "10.0.0.5:8000"),  # refused, and told to listen for others
    ],
)
def test_the_guess(bound: str, local: str, expected: str) -> None:
    """The local end of the connection to the registry, with the port that it listens on."""
    assert announced_address(bound, local) == expected


@pytest.mark.parametrize(
    ("bound", "local", "elsewhere", "expected"),
    [
        ("0.0.0.0:4000", "127.0.0.1", "10.0.0.5", "10.0.0.5:4000"),
        ("[::]:4000", "::1", "10.0.0.5", "10.0.0.5:4000"),
        ("[::]:4000", "127.0.0.1", "fd00::5", "[fd00::5]:4000"),
        ("[::]:4000", "10.0.1.5", "10.0.0.5", "10.0.1.5:4000"),  # to a registry elsewhere
        ("10.0.2.5:4000", "10.0.2.5", "10.0.0.5", "10.0.2.5:4000"),
        ("127.0.0.1:4000", "127.0.0.1", "10.0.0.5", "127.0.0.1:4000"),  # it listens there only
        ("[::]:4000", "127.0.0.1", None, "127.0.0.1:4000"),
    ],
)
def test_where_a_registry_is_our_own_others_reach_us_elsewhere(
    bound: str, local: str, elsewhere: str | None, expected: str
) -> None:
    """A local end that is loopback says nothing; any other one does."""
    assert announced_address(bound, local, elsewhere) == expected


@pytest.mark.parametrize(
    ("tried", "peer", "says"),
    [
        # the registry in a container whose port is published, the instance beside the engine
        ("127.0.0.1:8000", "172.17.0.1", "BLOG_ADVERTISE=172.17.0.1:8000"),
        ("[::1]:8000", "fd00::5", "BLOG_ADVERTISE=[fd00::5]:8000"),
        ("192.168.7.2:8000", "203.0.113.9", "NAT"),  # behind a router
        ("10.0.0.5:8000", "10.0.0.5", "BLOG_HOST=0.0.0.0"),  # it listens at loopback, or a firewall
        ("[fd00::5]:8000", "fd00::5", "BLOG_HOST=::"),
        ("[::1]:8000", "fd00::5", "BLOG_HOST=::"),
        ("[fe80::5]:8000", "fe80::5", "BLOG_ADVERTISE"),
        ("my-host:8000", "10.0.0.5", "BLOG_ADVERTISE"),
        ("10.0.0.5:8000", "", "BLOG_ADVERTISE"),
        ("127.0.0.1:8000", "127.0.0.1", "BLOG_ADVERTISE"),
    ],
)
def test_the_advice(tried: str, peer: str, says: str) -> None:
    """It names the setting, and where it can be known, the value."""
    assert says in advice(tried, peer)
    assert "BLOG_" in advice(tried, peer)
