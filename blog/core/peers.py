"""Peers: how a handler calls other services, as its author sees it. The runtime carries the calls."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class PeerAnswer(NamedTuple):
    """What a peer answered: JSON, the sequence it wrote, and the parameters of the next page."""

    content: Any
    sequence: int | None = None
    is_stale: bool = False
    next: Mapping[str, str] | None = None


class Peer(Protocol):
    """Another service, whichever instance of it has its turn. Its problems are raised as our errors."""

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerAnswer:
        """Read; with `after`, from a view that has this sequence, or is marked as stale.

        Raises the DomainError that the peer answered with, Unavailable when nobody answers.
        """
        ...

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> PeerAnswer:
        """Write `content`, once, however often the same `key` is sent. Raises as `get` does."""
        ...

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> PeerAnswer:
        """Put `content` in the place of what is at `path`. Otherwise as `post`."""
        ...

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> PeerAnswer:
        """Delete what is at `path`. Otherwise as `post`."""
        ...


class Peers(Protocol):
    """The other services by name: `peers.query.get("/posts")`."""

    def __getattr__(self, service: str) -> Peer:
        """Return the service of this name."""
        ...
