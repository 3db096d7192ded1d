"""Which address of ours is on the way to another machine."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from blog.core.net import routes
from blog.core.net.address import Address
from blog.core.net.routes import addresses_of, is_for_others, local_end, way_to

BOTH = (socket.AF_INET, socket.AF_INET6)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_end_of_a_way_is_an_address_of_this_machine(host: str) -> None:
    """Looked up in its routes."""
    assert local_end((host, 9), Address(host, 9).family) == host
    assert local_end(("2001:db8::%nowhere", 9), socket.AF_INET6) is None


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("10.0.0.5", True),
        ("fd00::5", True),
        ("169.254.7.7", True),  # of one link, and without a zone
        ("fe80::5", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("a b", False),
    ],
)
def test_not_every_address_is_one_for_others(host: str, *, is_so: bool) -> None:
    """Loopback leads nowhere else; an address of a link needs a zone, which differs everywhere."""
    assert is_for_others(host) == is_so


async def test_a_way_is_of_a_family_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the addresses of a name that leads anywhere."""
    ends = {"10.1.0.1": "10.1.0.7", "fd00::1": "fd00::7", "192.0.2.9": None}

    def resolved(name: str, port: int, **_: Any) -> list[Any]:
        if name != "gateway":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        kind = {True: socket.AF_INET6, False: socket.AF_INET}
        hosts = ("192.0.2.9", "fd00::1", "10.1.0.1")
        return [(kind[":" in host], socket.SOCK_DGRAM, 17, "", (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(routes, "local_end", lambda address, _: ends[address[0]])
    async with asyncio.timeout(10):
        assert await way_to("http://gateway:4000", BOTH) == "fd00::7"
        assert await way_to("https://gateway", (socket.AF_INET,)) == "10.1.0.7"
        assert await way_to("http://missing:4000/", BOTH) is None
        assert await way_to("", BOTH) is None


async def test_a_resolver_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread holds nobody up, not even the end of the process."""
    may_answer = threading.Event()

    def resolved(*_: Any, **__: Any) -> list[Any]:
        may_answer.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(routes, "LOOKUP_TIMEOUT", 0.01)
    before = set(threading.enumerate())
    try:
        async with asyncio.timeout(10):
            assert await addresses_of("gateway") == []
        [waiting] = set(threading.enumerate()) - before
        assert waiting.daemon
    finally:
        may_answer.set()
    waiting.join(10)
