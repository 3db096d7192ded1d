"""Registries: where an instance announces itself, and at which address, if one of them is its own."""

import socket
from contextlib import suppress

from blog.core.net.address import Address
from blog.core.settings import Settings

_ROUTED = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent, only a route is looked up."""
_DISCARD = 9


def own_url(address: str) -> str:
    """Return the URL of a port of this process; one bound to every address is reached at loopback."""
    return Address.parse(address).local.url()


def registries_of(settings: Settings, own: str | None) -> tuple[str, ...]:
    """Return where to announce; an instance with a registry of its `own` is in those of its peers too.

    Several in BLOG_REGISTRY are shared: one of them is our own, by the name that others know.
    """
    if own is None:
        return settings.registry
    return (own, *settings.registry) if len(settings.registry) > 1 else (own,)


def outward(address: str) -> str | None:
    """Return where others reach a port that is bound to every address; None if it is not, or nowhere."""
    where = Address.parse(address)
    if not where.is_unspecified:
        return None
    with suppress(OSError), socket.socket(where.family, socket.SOCK_DGRAM) as probe:
        probe.connect((_ROUTED[where.family], _DISCARD))
        return str(Address.of(probe.getsockname()[0], where.port))
    return None
