"""Peers that answer what a test says, for tests of the pages."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from blog.core.contract import Meta, PeerResponse
from blog.core.ids import derived_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POST, COMMENT = derived_id("post"), derived_id("comment")


class FakePeer:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.requests: list[tuple[Any, ...]] = []

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerResponse:
        """Read."""
        return self._record(path, params, after)

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """Write."""
        return self._record(path, content, author_token, key)

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """Replace."""
        return self._record("put", path, content, author_token, key)

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> PeerResponse:
        """Delete."""
        return self._record("delete", path, params, author_token, key)

    def _record(self, *asked: Any) -> PeerResponse:
        self.requests.append(asked)
        if isinstance(self.response, Exception):
            raise self.response
        assert isinstance(self.response, PeerResponse)
        return self.response


class FakePeers:
    """Peers by name."""

    def __init__(self, **answers: Any) -> None:
        self.by_name = {name: FakePeer(response) for name, response in answers.items()}

    def __getattr__(self, service: str) -> FakePeer:
        """Find one."""
        return self.by_name[service]


def meta(token: str | None = None) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=NOW, author_token=token)


def a_post(**changes: Any) -> dict[str, Any]:
    """Give a post as query shows it."""
    known = {"id": POST, "title": "T", "body": "*b*", "author": "", "created_at": "x", "comments": []}
    return known | changes
