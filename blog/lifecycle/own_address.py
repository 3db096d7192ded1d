"""Own address: where others reach a registry that this process has itself.

Its own session with it is over loopback, which does not say. In the order of what they are worth: the
local end at which the first instance joined from elsewhere; that of the way to the registries that
BLOG_REGISTRY names, often this very process by the name that others know; that of the default route,
which leads over the wrong network where there are several.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from blog.core.backoff import Backoff
from blog.core.logs import get_logger
from blog.core.net.address import Address, AddressError
from blog.core.net.routes import is_for_others, local_end, way_to

LOOKUPS = 8
"""Lookups of names that are not known yet: about a minute, with the pauses between them."""

_PAUSE = Backoff(0.5, 15.0)
_ROUTED = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent, only a route is looked up.

IPv4 first: an address of IPv6 on the way outward may be a temporary one (RFC 8981).
"""
_DISCARD = 9

log = get_logger()


class ReachedRegistry(Protocol):
    """A registry in this process. It calls `on_reached` with the local address at which others join."""

    on_reached: Callable[[str], None]


class OwnAddress:
    """The host that others reach a port by, which is bound to the address `bound`.

    `announce` gets it each time that better evidence comes.
    """

    def __init__(self, bound: str, announce: Callable[[str], None]) -> None:
        self._bound = Address.parse(bound)
        self._announce = announce
        self._told: str | None = None
        self._is_certain = not self._bound.is_unspecified

    def reached_at(self, host: str) -> None:
        """Take in that an instance joined at our address `host`; the first from elsewhere decides."""
        if not self._is_certain and is_for_others(host):
            self._is_certain = True
            self._tell(host, "an instance joined there")

    async def look_up(self, registries: Iterable[str]) -> None:
        """Find the way to `registries`, URLs; try again for a while if no name is known yet."""
        elsewhere = [url for url in registries if not _is_loopback(url)]
        for failures in range(1, LOOKUPS + 1):
            if self._is_certain or not elsewhere:
                return
            for url in elsewhere:
                host = await way_to(url, self._bound.families)
                if host is not None and not self._is_certain:
                    self._tell(host, f"it leads to {url}")
                    return
            await asyncio.sleep(_PAUSE.delay(failures))

    def _tell(self, host: str, why: str) -> None:
        if host == self._told:
            return
        self._told = host
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


def _ends_outward(where: Address) -> Iterator[str | None]:
    for host, family in _ROUTED:
        if family in where.families:
            yield local_end((host, _DISCARD), family)


def _is_loopback(url: str) -> bool:
    try:
        return Address.of(urlsplit(url).hostname or "", 0).is_loopback
    except (AddressError, ValueError):
        return True  # not a URL that leads anywhere
