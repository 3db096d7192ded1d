"""Registries: where an instance announces itself, and as what, if one of them is its own."""

import socket
from contextlib import suppress

from blog.core.settings import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - how it is written, not bound
_ELSEWHERE = ("192.0.2.1", 9)  # an address of documentation (RFC 5737): nothing is sent, only routed


def own_url(address: str) -> str:
    """Return the URL of a door of this process; bound to every address, it is reached at loopback."""
    host, _, port = address.rpartition(":")
    return f"http://{_ANYWHERE.get(host, host)}:{port}"


def registries_of(settings: Settings, own: str | None) -> tuple[str, ...]:
    """Return where to announce. Who has a registry of its `own` is in those of its peers as well.

    Several in BLOG_REGISTRY are everybody's: one of them is our own, by the name that others know.
    """
    if own is None:
        return settings.registry
    return (own, *settings.registry) if len(settings.registry) > 1 else (own,)


def outward(address: str) -> str | None:
    """Return where others find a door that is bound to every address; None if it is not, or nowhere."""
    host, _, port = address.rpartition(":")
    if host not in _ANYWHERE:
        return None
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return f"{probe.getsockname()[0]}:{port}"
    return None
