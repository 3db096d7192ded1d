"""Peers: how a handler calls other services, as its author sees it. The runtime makes the calls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from blog.core.deprecated import renamed_names


class PeerResponse(NamedTuple):
    """A peer's response: JSON, the sequence it wrote, and the parameters of the next page."""

    content: Any
    sequence: int | None = None
    is_stale: bool = False
    next: Mapping[str, str] | None = None


class Peer(Protocol):
    """Another service: the load balancer selects the instance. Its problems are raised as our errors."""

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerResponse:
        """Read; with `after`, from a view that has this sequence, or is marked as stale.

        Raises the DomainError that the peer responded with, Unavailable when no instance responds.
        """
        ...

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """Write `content`, once, however often the same idempotency `key` is sent. Raises as `get`."""
        ...

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """Replace the content at `path`. Otherwise as `post`."""
        ...

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> PeerResponse:
        """Delete what is at `path`. Otherwise as `post`."""
        ...


class Peers(Protocol):
    """The other services by name: `peers.query.get("/posts")`."""

    def __getattr__(self, service: str) -> Peer:
        """Return the service of this name."""
        ...


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, PeerAnswer="PeerResponse")
