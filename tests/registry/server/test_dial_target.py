"""Strangers announce only hosts of the registry's own private networks, by whatever name."""

import socket
from ipaddress import ip_address, ip_interface

import pytest

from blog.core.net.local_networks import LocalNetworks
from blog.registry.server.dial_target import DialTargets, NotAllowedError, may_dial

NEAR = ("10.1.2.3/16", "fd00::3/64", "127.0.0.1/8", "::1/128")


class FixedNetworks(LocalNetworks):
    """The networks of an imagined machine."""

    def contains(self, host: str) -> bool:
        """Return whether the host is in one of them."""
        return any(ip_address(host) in ip_interface(one).network for one in NEAR)


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("10.1.9.9", True),
        ("fd00::9", True),
        ("10.2.0.1", False),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00:0:0:1::1", False),
        ("224.0.0.1", False),
        ("93.184.216.34", False),
    ],
)
def test_which_hosts_are_dialled_for_a_stranger(host: str, *, is_allowed: bool) -> None:
    """Those in the same networks; never loopback, the cloud's metadata, or the world."""
    assert may_dial(ip_address(host), FixedNetworks()) is is_allowed


@pytest.mark.parametrize(
    "announced",
    [
        "127.0.0.1:80",
        "localhost:80",
        "127.1:80",
        "0x7f000001:80",
        "2130706433:80",
        "0:80",
        "[::ffff:127.0.0.1]:80",
        "[::ffff:169.254.169.254]:80",
        "[::1]:80",
        "169.254.169.254:80",
        "a..b:1",
        "no.such.host.invalid:1",
        "10.1.0.1:99999",
    ],
)
async def test_no_other_way_to_write_it_helps(announced: str) -> None:
    """Names, short forms, numbers, IPv4 as IPv6: what they mean is checked."""
    with pytest.raises(NotAllowedError):
        await DialTargets(FixedNetworks()).resolve(announced)


async def test_exactly_the_address_that_was_checked_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is resolved once; one of its addresses elsewhere is enough to refuse it."""
    found = [["10.1.0.7"], ["10.1.0.7", "127.0.0.1"], []]
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    targets = DialTargets(FixedNetworks())
    assert await targets.resolve("posts:8001") == "10.1.0.7:8001"
    assert await targets.resolve("[fd00::7]:80") == "[fd00::7]:80"
    for _ in range(2):
        with pytest.raises(NotAllowedError):
            await targets.resolve("posts:8001")
    assert asked == ["posts"] * 3
