"""Registries: where an instance announces itself, and as what, if one of them is its own."""

import socket
from contextlib import suppress

from blog.core.net.address import Address
from blog.core.settings import Settings

# addresses of documentation (RFC 5737, RFC 3849): nothing is sent, only routed
_ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}


def own_url(address: str) -> str:
    """Return the URL of a door of this process; bound to every address, it is reached at loopback."""
    return Address.parse(address).local.url()


def registries_of(settings: Settings, own: str | None) -> tuple[str, ...]:
    """Return where to announce. Who has a registry of its `own` is in those of its peers as well.

    Several in BLOG_REGISTRY are everybody's: one of them is our own, by the name that others know.
    """
    if own is None:
        return settings.registry
    return (own, *settings.registry) if len(settings.registry) > 1 else (own,)


def outward(address: str) -> str | None:
    """Return where others find a door that is bound to every address; None if it is not, or nowhere."""
    where = Address.parse(address)
    if not where.is_unspecified:
        return None
    with suppress(OSError), socket.socket(where.family, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE[where.family])
        return str(where.with_host(probe.getsockname()[0]))
    return None
