"""Refusals: how an action runs that may only render a page: its peers read, but raise on writes.

So an action handles the gateway's rejection as it handles any problem of a peer: there is no case for it.
"""

from collections.abc import Mapping
from typing import Any, Never

from aiohttp import web

from blog.core.contract import Peer, PeerResponse, Peers
from blog.core.errors import BlogError
from blog.core.refusals import SECONDS, too_many_writes


def refusal_of(request: web.Request) -> BlogError | None:
    """Return the gateway's reason to reject a request that it sent here to be shown, else None."""
    seconds = request.match_info.get(SECONDS)
    return None if seconds is None else too_many_writes(int(seconds))


class ReadOnlyPeers:
    """`peers` that cannot write: a write raises `refusal` instead."""

    def __init__(self, peers: Peers, refusal: BlogError) -> None:
        self._peers = peers
        self._refusal = refusal

    def __getattr__(self, service: str) -> "ReadOnlyPeer":
        """Return the service of this name."""
        return ReadOnlyPeer(getattr(self._peers, service), self._refusal)


class ReadOnlyPeer:
    """A peer that cannot write."""

    def __init__(self, peer: Peer, refusal: BlogError) -> None:
        self._peer = peer
        self._refusal = refusal

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerResponse:
        """See `Peer.get`."""
        return await self._peer.get(path, params=params, after=after)

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> Never:
        """Refuse."""
        del path, content, author_token, key
        raise self._refusal

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> Never:
        """Refuse."""
        del path, content, author_token, key
        raise self._refusal

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> Never:
        """Refuse."""
        del path, params, author_token, key
        raise self._refusal
