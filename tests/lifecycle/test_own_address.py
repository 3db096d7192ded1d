"""Where others reach a registry of our own: the best evidence counts, and nobody waits for it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from blog.core.backoff import Backoff
from blog.core.net import routes
from blog.lifecycle import own_address
from blog.lifecycle.own_address import OwnAddress, default_route

WAYS = {
    "10.1.0.1": "10.1.0.7",
    "10.2.0.1": "10.2.0.7",
    "fd00:1::1": "fd00:1::7",
    "127.0.0.1": "127.0.0.1",
}
NAMES = {
    "gateway": ["10.1.0.1"],
    "other": ["10.2.0.1"],
    "both": ["fd00:1::1", "10.1.0.1"],
    "me": ["127.0.0.1"],
    "far": ["192.0.2.9"],
}


class Network:
    """Names and ways; lookups that are asked for, and how many names are not known yet."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.unknown = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def getaddrinfo(self, name: str, port: int, **_: Any) -> list[Any]:
        """Resolve a name, or wait until it may be."""
        self.asked.append(name)
        self.may_answer.wait(30)
        self.unknown -= 1
        if self.unknown >= 0 or (name not in NAMES and name not in WAYS):
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        hosts = NAMES.get(name, [name])
        kind = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kind[":" in host], socket.SOCK_DGRAM, 17, "", (host, port)) for host in hosts]

    def local_end(self, address: tuple[Any, ...], _: socket.AddressFamily) -> str | None:
        """Return our end of the way."""
        return WAYS.get(address[0])


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Give a network where everything is as a test says."""
    made = Network()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    monkeypatch.setattr(routes, "local_end", made.local_end)
    monkeypatch.setattr(own_address, "_PAUSE", Backoff(0.001, 0.001))
    yield made
    made.may_answer.set()


@pytest.mark.parametrize(
    ("bound", "named", "expected"),
    [
        ("0.0.0.0:4000", ["http://gateway:4000"], ["10.1.0.7"]),
        ("[::]:4000", ["http://gateway:4000"], ["10.1.0.7"]),
        ("[::]:4000", ["http://both:4000"], ["fd00:1::7"]),
        ("0.0.0.0:4000", ["http://both:4000"], ["10.1.0.7"]),  # it does not listen on IPv6
        ("[::]:4000", ["http://[fd00:1::1]:4000"], ["fd00:1::7"]),
        ("[::]:4000", ["http://10.2.0.1:4000/"], ["10.2.0.7"]),
        ("[::]:4000", ["http://far:4000", "http://other:4000"], ["10.2.0.7"]),
        ("[::]:4000", ["http://missing:1", "http://other", "http://gateway:1"], ["10.2.0.7"]),
        ("[::]:4000", ["http://me:4000", "https://gateway:4000"], ["10.1.0.7"]),
        ("[::]:4000", ["http://127.0.0.1:4000", "http://gateway:4000"], ["10.1.0.7"]),
        # nothing that says where others are
        ("[::]:4000", ["http://127.0.0.1:4000"], []),
        ("[::]:4000", ["http://localhost:4000", "http://[::1]:4000"], []),
        ("[::]:4000", ["http://missing:4000"], []),
        # it is known already
        ("10.3.0.7:4000", ["http://gateway:4000"], []),
        ("127.0.0.1:4000", ["http://gateway:4000"], []),
    ],
)
async def test_it_is_our_end_of_the_way_to_the_registries_that_are_named(
    network: Network, bound: str, named: list[str], expected: list[str]
) -> None:
    """The first that leads anywhere, by a family that the port has."""
    found: list[str] = []
    async with asyncio.timeout(10):
        await OwnAddress(bound, found.append).look_up(named)
    assert found == expected
    if not expected and "missing" not in named[0]:
        assert not network.asked


async def test_a_name_that_is_not_known_yet_is_looked_up_again(network: Network) -> None:
    """For a while: names appear a little after what they name."""
    network.unknown = 3
    found: list[str] = []
    async with asyncio.timeout(10):
        await OwnAddress("[::]:4000", found.append).look_up(["http://gateway:4000"])
        assert (found, len(network.asked)) == (["10.1.0.7"], 4)
        network.unknown = 1000
        await OwnAddress("[::]:4000", found.append).look_up(["http://gateway:4000"])
    assert len(network.asked) == 4 + own_address.LOOKUPS
    assert found == ["10.1.0.7"]


@pytest.mark.parametrize("is_found_first", [True, False])
async def test_an_instance_that_has_come_knows_better(network: Network, *, is_found_first: bool) -> None:
    """Only the first one from elsewhere: what it found cannot change with each that comes."""
    found: list[str] = []
    own = OwnAddress("[::]:4000", found.append)
    if is_found_first:
        await own.look_up(["http://gateway:4000"])
    for host in ("", "127.0.0.1", "::1", "fe80::7", "10.2.0.7", "10.1.0.7", "fd00:1::7"):
        own.reached_at(host)
    await own.look_up(["http://gateway:4000"])
    assert found == ["10.1.0.7", "10.2.0.7"][not is_found_first :]


async def test_one_that_comes_while_names_are_looked_up_is_not_overruled(network: Network) -> None:
    """The answer of the resolver is older."""
    network.may_answer.clear()
    found: list[str] = []
    own = OwnAddress("[::]:4000", found.append)
    looking = asyncio.create_task(own.look_up(["http://gateway:4000"]))
    async with asyncio.timeout(10):
        while not network.asked:
            await asyncio.sleep(0.001)
        own.reached_at("10.2.0.7")
        network.may_answer.set()
        await looking
    assert found == ["10.2.0.7"]


def test_without_evidence_it_is_the_default_route() -> None:
    """By a family that the port has; what is bound to one address is found there."""
    for bound, versions in (("0.0.0.0:4000", {4}), ("[::]:4000", {4, 6})):
        found = default_route(bound)
        if found is not None:  # this machine has a route
            address = ip_address(found)
            assert address.version in versions
            assert not address.is_unspecified
            assert not address.is_loopback
    assert default_route("10.0.0.5:4000") is None
    assert default_route("[fd00::5]:4000") is None
    assert default_route("127.0.0.1:4000") is None
