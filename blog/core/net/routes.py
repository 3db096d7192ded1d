"""Routes: at which of its addresses this machine is on the way to another one. Nothing is sent."""

import asyncio
import socket
import threading
from collections.abc import Container
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from blog.core.net.address import Address, AddressError
from blog.core.net.peer import plain_ip

LOOKUP_TIMEOUT = 5.0
"""Seconds for the addresses of a name."""

_DISCARD = 9  # a port must be given; any will do

_Resolved: TypeAlias = list[tuple[tuple[Any, ...], socket.AddressFamily]]


async def way_to(url: str, families: Container[socket.AddressFamily]) -> str | None:
    """Return our IP address on the way to the host of `url`, by one of `families`, for others to dial.

    None if its name is unknown, nothing leads there, or only loopback or a link does.
    """
    resolved = await addresses_of(urlsplit(url).hostname or "")
    hosts = (local_end(address, family) for address, family in resolved if family in families)
    return next((host for host in hosts if host is not None and is_for_others(host)), None)


def local_end(address: tuple[Any, ...], family: socket.AddressFamily) -> str | None:
    """Return the IP address from which this machine reaches another; None if nothing leads there."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return plain_ip(probe.getsockname()[0])
    return None


def is_for_others(host: str) -> bool:
    """Return whether others may dial this IP address: not loopback, and not of one link only."""
    try:
        where = Address.of(host, 0)
    except AddressError:
        return False
    # of IPv6 it would need a zone, which means nothing on other machines
    is_of_link = where.host.startswith("fe80:")
    return not (where.is_loopback or where.is_unspecified or is_of_link)


async def addresses_of(name: str) -> _Resolved:
    """Look up a name; nothing if it is unknown, or nobody answers in time.

    In a thread that nobody waits for: a resolver that is silent would hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Resolved] = loop.create_future()

    def resolve(found: _Resolved) -> None:
        if not future.done():
            future.set_result(found)

    def look_up() -> None:
        found: _Resolved = []
        with suppress(OSError, UnicodeError):
            infos = socket.getaddrinfo(name, _DISCARD, type=socket.SOCK_DGRAM)
            found = [(info[4], info[0]) for info in infos]
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(resolve, found)

    threading.Thread(target=look_up, name="address lookup", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            return await future
    return []
