"""Routes: at which of its addresses this machine is on the way to another one. Nothing is sent."""

import socket
from collections.abc import Container
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from blog.core.net.address import Address, AddressError
from blog.core.net.ip import plain_ip
from blog.core.net.lookup import LOOKUP_TIMEOUT, Found, Lookups

_DISCARD = 9  # a port must be given; any will do
_LOOKUPS = Lookups(8)


async def way_to(url: str, families: Container[socket.AddressFamily]) -> str | None:
    """Return our IP address on the way to the host of `url`, by one of `families`, for others to dial.

    None if its name is unknown, nothing leads there, or only loopback or a link does.
    """
    resolved = await addresses_of(urlsplit(url).hostname or "")
    hosts = (local_end(address, family) for family, address in resolved if family in families)
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


async def addresses_of(name: str) -> Found:
    """Look up a name; nothing if it is unknown, or nobody answers in time."""
    try:
        return await _LOOKUPS.find(name, _DISCARD, LOOKUP_TIMEOUT, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
