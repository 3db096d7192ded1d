"""An address is read, written and compared in one way, IPv6 with brackets; rubbish is told why."""

import copy
import errno
import pickle
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.net.address import Address, AddressError, bare, has_ipv6


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("posts-1.blog_net:0", "posts-1.blog_net", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:80", "::1", 80),
        ("[2001:db8::ffff:1.2.3.4]:8080", "2001:db8::ffff:102:304", 8080),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    """Host and port, and it is the pair that sockets take."""
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        ("[::1]", "no port"),
        ("localhost:", "'' is not a port"),
        ("localhost:http", "'http' is not a port"),
        ("localhost:-1", "not a port"),
        ("localhost:+80", "not a port"),
        ("localhost:８０", "not a port"),
        ("localhost:80\n", "not a port"),
        ("localhost:123456", "not a port"),
        ("localhost:65536", "between 0 and 65535"),
        (":80", "needs a host"),
        ("[]:80", "only an IPv6"),
        ("::1:80", "in brackets"),
        ("http://localhost:80", "in brackets"),
        ("[127.0.0.1]:80", "only an IPv6"),
        ("[::1:80", "no port"),
        ("[fe80::1%eth0]:80", "a zone"),
        ("[::g]:80", "not an IPv6"),
        ("[:::]:80", "not an IPv6"),
        ("[::\0]:80", "not an IPv6"),
        ("a b:80", "not a host"),
        ("ä.example:80", "not a host"),
        ("[\ud800::]:80", "not an IPv6"),
        ("user@host:80", "not a host"),
        ("x" * 254 + ":80", "not a host"),
    ],
)
def test_what_is_none_is_told_why(text: str, why: str) -> None:
    """One error, which is a ValueError, in words for people."""
    with pytest.raises(AddressError, match=why):
        Address.parse(text)
    assert issubclass(AddressError, ValueError)


@given(st.text())
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    """Nothing else comes of it; what is an address is written so that it is read the same."""
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(address)) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_has_one_form(ip: object, port: int) -> None:
    """However IPv6 is written, it is the same address."""
    address = Address(str(ip), port)
    assert Address.parse(str(address)) == Address.of(str(ip).upper(), port).with_host(str(ip)) == address
    assert str(address).startswith("[") == (":" in str(ip))
    assert (address.family is socket.AF_INET6) == (":" in str(ip))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("localhost", "localhost:80"),
        ("0.0.0.0", "0.0.0.0:80"),
        ("::", "[::]:80"),
        ("", "0.0.0.0:80"),
        ("fe80::1%eth0", "[fe80::1]:80"),
        ("[fe80::1%eth0]", "[fe80::1]:80"),
        ("::ffff:10.0.0.7", "10.0.0.7:80"),
        ("2001:DB8:0::1", "[2001:db8::1]:80"),
    ],
)
def test_a_host_may_be_written_as_people_and_sockets_do(host: str, expected: str) -> None:
    """BLOG_HOST and the ends of a connection: brackets or none, a zone, IPv4 within IPv6."""
    assert str(Address.of(host, 80)) == expected


def test_a_host_that_is_none_is_refused_however_it_comes() -> None:
    """A port within it, say."""
    for host in ("localhost:80", "a b", "[localhost", "%eth0"):
        with pytest.raises(AddressError):
            Address.of(host, 80)
    with pytest.raises(AddressError, match="between"):
        Address.of("localhost", -1)


@pytest.mark.parametrize(
    ("host", "is_loopback", "is_unspecified", "local"),
    [
        ("127.0.0.1", True, False, "127.0.0.1:80"),
        ("127.9.9.9", True, False, "127.9.9.9:80"),
        ("::1", True, False, "[::1]:80"),
        ("::ffff:127.0.0.1", True, False, "[::ffff:127.0.0.1]:80"),
        ("LocalHost", True, False, "LocalHost:80"),
        ("0.0.0.0", False, True, "127.0.0.1:80"),
        ("::", False, True, "[::1]:80"),
        ("::ffff:0.0.0.0", False, True, "[::1]:80"),
        ("10.0.0.7", False, False, "10.0.0.7:80"),
        ("::2", False, False, "[::2]:80"),
        ("7f00::1", False, False, "[7f00::1]:80"),
        ("127.0.0.1.example", False, False, "127.0.0.1.example:80"),
    ],
)
def test_who_can_dial_it_is_known(
    host: str, *, is_loopback: bool, is_unspecified: bool, local: str
) -> None:
    """Only this machine, everybody at any of its addresses, or whoever reaches that one."""
    address = Address(host, 80)
    assert (address.is_loopback, address.is_unspecified) == (is_loopback, is_unspecified)
    assert str(address.local) == local


@pytest.mark.parametrize(
    ("host", "families"),
    [("::", {4, 6}), ("0.0.0.0", {4}), ("10.0.0.7", {4}), ("::1", {6}), ("fd00::5", {6})],
)
def test_others_come_by_the_families_that_are_listened_on(host: str, families: set[int]) -> None:
    """Every address of IPv6 is every one of IPv4 too."""
    versions = {socket.AF_INET: 4, socket.AF_INET6: 6}
    assert {versions[family] for family in Address(host, 80).families} == families


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "10.0.0.7", "::1"])
def test_without_ipv6_this_machine_is_reached_by_ipv4(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port on every address is one of IPv4 too; an address of its own is what it is."""
    assert has_ipv6()

    class Socket(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(errno.EADDRNOTAVAIL, "there is none")

    monkeypatch.setattr(socket, "socket", Socket)
    expected = "127.0.0.1" if host in ("::", "0.0.0.0") else host
    assert Address(host, 80).local == Address(expected, 80)


def test_it_makes_urls_and_others_like_it() -> None:
    """With brackets where they belong; it is shown, ordered, copied and pickled as what it is."""
    address = Address.parse("[::1]:80")
    assert address.url() == "http://[::1]:80"
    assert address.url("/events", scheme="https") == "https://[::1]:80/events"
    assert str(address.with_port(8080)) == "[::1]:8080"
    assert str(address.with_host("localhost")) == "localhost:80"
    assert repr(address) == "<Address [::1]:80>"
    assert sorted([Address("b", 1), Address("a", 2)]) == [Address("a", 2), Address("b", 1)]
    for same in (copy.copy(address), pickle.loads(pickle.dumps(address))):  # noqa: S301 - our own
        assert isinstance(same, Address)
        assert {address: 1}[same] == 1


def test_a_host_can_be_had_bare() -> None:
    """As `ipaddress` wants it."""
    assert [bare(host) for host in ("[::1]", "fe80::1%2", "::1", "a.b", "[a", "")] == [
        "::1",
        "fe80::1",
        "::1",
        "a.b",
        "[a",
        "",
    ]


def test_it_is_cheap_to_import() -> None:
    """A health check pays for it every few seconds: nothing beyond `re` and `socket`."""
    program = (
        "import re, socket, sys; before = set(sys.modules); import blog.core.net.address\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    words = [sys.executable, "-c", program]
    imported = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in imported if name.partition(".")[0] != "blog"] == []
