"""Admission: what an instance may say of itself, and which names are not for everybody. Pure."""

from collections.abc import Iterable

from blog.core.instance import Instance

RESERVED = frozenset({"bus", "gateway", "registry", "master"})
"""Names of the blog's own parts: who has one is believed."""

MAX_ROUTES = 1_000
MAX_SEGMENTS = 32
"""Of a route's pattern: of those a gateway may have to try each, for each request."""
MAX_REACTIONS = 1_000
MAX_REACTION = 200  # characters of the type of an event
MAX_FOLLOWED = 1_000
"""Services that one session may name to follow."""
MAX_METADATA = 64 << 10
"""Bytes of all keys and values of an instance's metadata."""
MAX_ENTRIES = 1_000
"""Entries of an instance's metadata."""

IS_RESERVED = "without a token only the first of this name may join: set BLOG_TOKEN for every process"
"""It is not for ever: the first one may be gone in a moment."""


def why_not_row(instance: Instance) -> str | None:
    """Return what is wrong with a row that everybody would get; None if it may be in the table."""
    return _why_not_routes(instance) or _why_not_reactions(instance) or _why_not_metadata(instance)


def _why_not_routes(instance: Instance) -> str | None:
    if len(instance.routes) > MAX_ROUTES:
        return f"routes: at most {MAX_ROUTES}, not {len(instance.routes)}"
    if any(route.pattern.count("/") > MAX_SEGMENTS for route in instance.routes):
        return f"routes: each has at most {MAX_SEGMENTS} segments"
    return None


def _why_not_reactions(instance: Instance) -> str | None:
    if len(instance.reactions) > MAX_REACTIONS:
        return f"reactions: at most {MAX_REACTIONS}, not {len(instance.reactions)}"
    if any(len(reaction) > MAX_REACTION for reaction in instance.reactions):
        return f"reactions: each has at most {MAX_REACTION} characters"
    return None


def _why_not_metadata(instance: Instance) -> str | None:
    if len(instance.metadata) > MAX_ENTRIES:
        return f"metadata: at most {MAX_ENTRIES} entries, not {len(instance.metadata)}"
    size = sum(len(key.encode()) + len(value.encode()) for key, value in instance.metadata.items())
    if size > MAX_METADATA:
        return f"metadata: at most {MAX_METADATA} bytes, not {size}"
    return None


def why_not_name(instance: Instance, others: Iterable[str], *, is_trusted: bool) -> str | None:
    """Return why an instance may not have the name of its service; None if it may.

    `others` are the ids of the other instances of that service in the table.
    """
    if instance.service not in RESERVED or is_trusted:
        return None
    return IS_RESERVED if any(id_ != instance.id for id_ in others) else None
