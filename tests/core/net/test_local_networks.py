"""Which addresses are near: this machine's, and those in its private networks."""

from ipaddress import ip_interface

import pytest
from structlog.testing import capture_logs

from blog.core.net.local_networks import LocalNetworks


def test_the_networks_of_this_machine_are_found() -> None:
    """Its loopback interface at least."""
    assert LocalNetworks().contains("127.0.0.1")


@pytest.mark.parametrize(
    ("interfaces", "host", "is_near"),
    [
        (["172.18.0.3/16"], "172.18.0.9", True),
        (["172.18.0.3/16"], "172.19.0.9", False),
        (["100.64.0.3/24"], "100.64.0.9", True),
        (["fd00:dead::3/64"], "fd00:dead::9", True),
        (["fe80::3/64"], "fe80::9", True),
        (["203.0.114.3/24"], "203.0.114.9", False),  # its neighbours are strangers
        (["203.0.114.3/24"], "203.0.114.3", True),  # itself
        (["2600::3/64"], "2600::9", False),
        (["10.0.0.3/0"], "8.8.8.8", False),
        (["10.0.0.3/32"], "10.0.0.4", False),
        (["172.18.0.3/16"], "::ffff:172.18.0.9", True),
        (["fe80::3/64"], "fe80::9%eth0", True),
        (["172.18.0.3/16"], "", False),
        (["172.18.0.3/16"], "gateway", False),
    ],
)
def test_what_is_near(
    monkeypatch: pytest.MonkeyPatch, interfaces: list[str], host: str, *, is_near: bool
) -> None:
    """Private networks only: who shares a public one with us is anybody."""
    found = frozenset(map(ip_interface, interfaces))
    monkeypatch.setattr("blog.core.net.local_networks.interfaces", lambda: found)
    assert LocalNetworks().contains(host) is is_near


def test_a_network_that_is_joined_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker network connect`, while the process runs; strangers do not make it look each time."""
    now, looks = 0.0, 0
    found = set(map(ip_interface, ["172.18.0.3/16"]))

    def interfaces() -> object:
        nonlocal looks
        looks += 1
        return frozenset(found)

    monkeypatch.setattr("blog.core.net.local_networks.interfaces", interfaces)
    networks = LocalNetworks(lambda: now)
    assert not any(networks.contains("10.9.0.1") for _ in range(100))
    assert looks == 1
    found.add(ip_interface("10.9.0.3/24"))
    now = 1.5
    assert networks.contains("10.9.0.1")
    assert all(networks.contains("10.9.0.1") for _ in range(100))
    assert looks == 2
    found.remove(ip_interface("10.9.0.3/24"))
    now = 20.0
    assert not networks.contains("10.9.0.1")


def test_networks_that_cannot_be_read_now_are_those_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is left to open, say: whoever was near is near, and nobody gets an error."""
    now = 0.0
    networks = LocalNetworks(lambda: now)
    near = "blog.core.net.local_networks.interfaces"
    monkeypatch.setattr(near, lambda: frozenset({ip_interface("172.18.0.3/16")}))
    assert networks.contains("172.18.0.9")

    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(near, fail)
    now = 20.0
    with capture_logs() as lines:
        assert networks.contains("172.18.0.8")
        assert not networks.contains("172.19.0.8")
    assert [line["event"] for line in lines] == ["networks.unreadable"]
