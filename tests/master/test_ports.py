"""The ports that a blog listens at."""

import socket
from typing import ClassVar, Self

import pytest

from blog.core.errors import SettingsError
from blog.core.net.address import Address
from blog.core.settings import Settings
from blog.master import ports
from blog.master.ports import with_ports


class Held:
    """A port of a machine that hands out the lowest free one, also one just given back."""

    held: ClassVar[set[int]] = set()

    def __init__(self, host: str, port: int) -> None:
        self.address = Address(host, port or min(set(range(1024, 1100)) - self.held))

    def __enter__(self) -> Self:
        self.held.add(self.address.port)
        return self

    def __exit__(self, *_: object) -> None:
        self.held.discard(self.address.port)


def test_two_free_ports_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is held until the second is found."""
    monkeypatch.setattr(ports, "bind", Held)
    found = with_ports(Settings(public_port=0, admin_port=0))
    assert (found.public_port, found.admin_port) == (1024, 1025)
    assert not Held.held


def test_free_ports_can_be_listened_at() -> None:
    """By others, from now on."""
    found = with_ports(Settings(public_port=0, admin_port=0))
    for port in (found.public_port, found.admin_port):
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


def test_one_port_for_both_is_an_error() -> None:
    """Whoever came second would crash."""
    free = with_ports(Settings(public_port=0, admin_port=0)).public_port
    with pytest.raises(SettingsError, match=f"BLOG_ADMIN_PORT={free}: cannot listen"):
        with_ports(Settings(public_port=free, admin_port=free))


@pytest.mark.parametrize("host", ["::1", "[::1]", "::", "localhost", "0.0.0.0", "127.0.0.2"])
def test_every_way_to_write_a_host_of_this_machine(host: str) -> None:
    """Names, IPv4, and IPv6 with and without brackets."""
    found = with_ports(Settings(host=host, public_port=0, admin_port=0))
    assert len({0, found.public_port, found.admin_port}) == 3


@pytest.mark.parametrize(
    ("host", "taken"),
    [("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1"), ("::", "0.0.0.0")],
)
def test_a_port_that_is_taken_says_which(host: str, taken: str) -> None:
    """In either family, and where both are meant, in one of them."""
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((taken, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"BLOG_PUBLIC_PORT={port}: .*in use; .* BLOG_PUBLIC_PORT"
        ):
            with_ports(Settings(host=host, public_port=port, admin_port=0))


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("no-such-host.invalid", "[Nn]ame"),
        ("192.0.2.1", "[Cc]annot assign"),
        ("2001:db8::1", "[Cc]annot assign"),
    ],
)
def test_a_host_that_is_not_of_this_machine_says_why(host: str, why: str) -> None:
    """And that it is BLOG_HOST which is to be changed."""
    with pytest.raises(SettingsError, match=f"{why}.*") as caught:
        with_ports(Settings(host=host, public_port=0, admin_port=0))
    assert "BLOG_HOST" in caught.value.detail
    assert "Unknown error" not in caught.value.detail
