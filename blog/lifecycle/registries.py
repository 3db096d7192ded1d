"""Registries: where an instance announces itself, if one of them is its own."""

from blog.core.net.address import Address
from blog.core.settings import Settings


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
