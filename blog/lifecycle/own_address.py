"""Own address: where others reach a registry that this process has itself.

Its own session with it is over loopback, which does not say. In the order of what they are worth: the
local end at which the first instance joined from elsewhere; that of the way to the registries that
BLOG_REGISTRY names, often this very process by the name that others know; that of the default route,
which leads over the wrong network where there are several.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from blog.core.backoff import Backoff
from blog.core.logs import get_logger
from blog.core.net.address import Address, AddressError
from blog.core.net.peer import plain_ip

LOOKUP_TIMEOUT = 5.0
"""Seconds for the addresses of a name; nobody waits for them."""
LOOKUPS = 8
"""Lookups of names that are not known yet: about a minute, with the pauses between them."""

_PAUSE = Backoff(0.5, 15.0)
_ROUTED = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent, only a route is looked up.

IPv4 first: an address of IPv6 on the way outward may be a temporary one (RFC 8981).
"""
_DISCARD = 9

_Addresses: TypeAlias = list[tuple[tuple[Any, ...], socket.AddressFamily]]

log = get_logger()


class OwnAddress:
    """The host that others reach a port by, which is bound to the address `bound`.

    `announce` gets it each time that better evidence comes.
    """

    def __init__(self, bound: str, announce: Callable[[str], None]) -> None:
        self._bound = Address.parse(bound)
        self._announce = announce
        self._is_certain = not self._bound.is_unspecified

    def reached_at(self, host: str) -> None:
        """Take in that an instance joined at our address `host`; the first from elsewhere decides."""
        if not self._is_certain and _says_something(host):
            self._is_certain = True
            self._tell(host, "an instance joined there")

    async def look_up(self, registries: Iterable[str]) -> None:
        """Find the way to `registries`, URLs; try again for a while if no name is known yet."""
        elsewhere = [url for url in registries if not _is_loopback(url)]
        for failures in range(1, LOOKUPS + 1):
            if self._is_certain or not elsewhere:
                return
            for url in elsewhere:
                host = await self._way_to(url)
                if host is not None and not self._is_certain:
                    self._tell(host, f"it leads to {url}")
                    return
            await asyncio.sleep(_PAUSE.delay(failures))

    async def _way_to(self, url: str) -> str | None:
        """Return our end of the way to a registry; None if its name is unknown, or there is none."""
        where = urlsplit(url)
        found: _Addresses = []
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                found = await _addresses_of(where.hostname or "")
        hosts = (local_end(address, family) for address, family in found if self._serves(family))
        return next(filter(_says_something, filter(None, hosts)), None)

    def _serves(self, family: socket.AddressFamily) -> bool:
        """Return whether others can come by this family: `::` is both."""
        return self._bound.family in (family, socket.AF_INET6)

    def _tell(self, host: str, why: str) -> None:
        log.info("instance.reached_at", host=host, reason=why)
        self._announce(host)

    def __repr__(self) -> str:
        """Show what is bound, and whether it is known where others reach it."""
        return f"<OwnAddress of {self._bound}{' (certain)' * self._is_certain}>"


def default_route(bound: str) -> str | None:
    """Return our host on the way outward, for a port bound to every address; None without a way."""
    where = Address.parse(bound)
    if not where.is_unspecified:
        return None
    return next(filter(None, _ends_outward(where)), None)


def local_end(address: tuple[Any, ...], family: socket.AddressFamily) -> str | None:
    """Return the IP address from which this machine reaches another; None if nothing leads there."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return plain_ip(probe.getsockname()[0])
    return None


def _ends_outward(where: Address) -> Iterator[str | None]:
    for host, family in _ROUTED:
        if where.family in (family, socket.AF_INET6):
            yield local_end((host, _DISCARD), family)


async def _addresses_of(name: str) -> _Addresses:
    """Look up a name; nothing if it is not known.

    In a thread that nobody waits for: a resolver that is silent would hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Addresses] = loop.create_future()

    def resolve(found: _Addresses) -> None:
        if not future.done():
            future.set_result(found)

    def look_up() -> None:
        found: _Addresses = []
        with suppress(OSError, UnicodeError):
            infos = socket.getaddrinfo(name, _DISCARD, type=socket.SOCK_DGRAM)
            found = [(info[4], info[0]) for info in infos]
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(resolve, found)

    threading.Thread(target=look_up, name="registry lookup", daemon=True).start()
    return await future


def _is_loopback(url: str) -> bool:
    try:
        return Address.of(urlsplit(url).hostname or "", 0).is_loopback
    except (AddressError, ValueError):
        return True  # not a URL that leads anywhere


def _says_something(host: str) -> bool:
    """Return whether others may reach us at this address: not loopback, and not of one link only."""
    try:
        where = Address.of(host, 0)
    except AddressError:
        return False
    # of IPv6 it would need a zone, which means nothing on other machines
    is_of_link = where.host.startswith("fe80:")
    return not (where.is_loopback or where.is_unspecified or is_of_link)
