"""A port is bound on every address of its host, or not at all."""

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from blog.core.net.bound_port import BoundPort, bind

LOOPBACK = ("127.0.0.1", "::1")


def connects(host: str, port: int) -> bool:
    """Return whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def listening_at(bound: BoundPort) -> set[str]:
    """Listen; return the loopback addresses at which that is."""
    for one in bound.sockets:
        one.listen()
    return {host for host in LOOPBACK if connects(host, bound.address.port)}


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give what makes every name stand for these addresses."""
    original = socket.getaddrinfo

    def set_to(*hosts: str) -> None:
        def resolved(name: str, *args: Any, **options: Any) -> list[Any]:
            found = hosts if name.isalpha() else (name,)
            return [info for host in found for info in original(host, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)

    return set_to


def without_ipv6(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the kernel know no IPv6."""

    class Socket(socket.socket):
        def __init__(self, family: int, *args: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(number, "there is none")
            super().__init__(family, *args)

    monkeypatch.setattr(socket, "socket", Socket)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("[::]", {"127.0.0.1", "::1"}),
        ("0:0::0", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
    ],
)
def test_every_address_is_every_one_of_both_kinds(host: str, found: set[str], *, shared: bool) -> None:
    """With one socket, whatever this machine sets IPV6_V6ONLY to."""
    with bind(host, 0, shared=shared) as bound:
        assert len(bound.sockets) == 1
        assert listening_at(bound) == found
    with bind(host, bound.address.port, shared=shared) as again:
        assert again.address == bound.address
        assert listening_at(again) == found


def test_a_name_is_each_of_its_addresses_at_one_port(resolve: Callable[..., None]) -> None:
    """`localhost`, say; an address that is named twice is one."""
    resolve("::1", "127.0.0.1", "::1")
    for port in (0, 0):
        with bind("localhost", port) as bound:
            assert len({one.getsockname()[1] for one in bound.sockets}) == 1
            assert listening_at(bound) == set(LOOPBACK)
            assert bound.address.host == "::1"


@pytest.mark.parametrize("others", [("2001:db8::1",), ("192.0.2.1",), ("192.0.2.1", "2001:db8::1")])
def test_addresses_of_other_machines_are_left_out(
    resolve: Callable[..., None], others: tuple[str, ...]
) -> None:
    """Where one is left; otherwise the error says that none is."""
    resolve(*others, "127.0.0.1")
    with bind("here", 0) as bound:
        assert [str(one.getsockname()[0]) for one in bound.sockets] == ["127.0.0.1"]
    resolve(*others)
    with pytest.raises(OSError, match="assign") as caught:
        bind("there", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("taken", LOOPBACK)
@pytest.mark.parametrize("host", ["::", "localhost"])
def test_a_port_that_is_taken_at_one_address_is_taken(
    host: str, taken: str, resolve: Callable[..., None]
) -> None:
    """Half of the clients would meet another program; and nothing of it stays bound."""
    if host == "localhost":
        resolve(*LOOPBACK)
    with ExitStack() as stack:
        other = stack.enter_context(bind(taken, 0))
        listening_at(other)
        port = other.address.port
        with pytest.raises(OSError, match="in use") as caught:
            bind(host, port)
        assert caught.value.errno == errno.EADDRINUSE
        [free] = {*LOOPBACK} - {taken}
        stack.enter_context(bind(free, port))


def test_a_free_port_of_a_name_is_free_at_all_of_its_addresses(
    resolve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that is found may be taken at the second address: then it is another one."""
    resolve(*LOOPBACK)
    refused: list[int] = []

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] == "::1" and len(refused) < 3:
                refused.append(address[1])
                raise OSError(errno.EADDRINUSE, "in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)
    with bind("localhost", 0) as bound:
        assert len(refused) == 3
        assert listening_at(bound) == set(LOOPBACK)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT])
def test_without_ipv6_every_address_is_every_one_of_ipv4(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its address says so, which others read."""
    without_ipv6(monkeypatch, number)
    with bind("::", 0) as bound:
        assert bound.address.host == "0.0.0.0"
        assert str(bound.address.local) == f"127.0.0.1:{bound.address.port}"
        for one in bound.sockets:
            one.listen()
        assert connects("127.0.0.1", bound.address.port)
    with pytest.raises(OSError, match="there is none"):
        bind("::1", 0)


def test_a_shared_port_is_shared_by_who_shares() -> None:
    """By both kinds of addresses."""
    with bind("::", 0, shared=True) as one, bind("::", one.address.port, shared=True) as other:
        assert listening_at(one) == listening_at(other) == set(LOOPBACK)
        with pytest.raises(OSError, match="in use"):
            bind("::", one.address.port)


def test_a_name_that_cannot_be_one_is_an_error_of_the_system() -> None:
    """Which callers translate, as for one that is unknown."""
    with pytest.raises(socket.gaierror):
        bind("a" * 64, 0)
    with pytest.raises(socket.gaierror):
        bind("no-such-host.invalid", 0)
