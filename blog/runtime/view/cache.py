"""Response cache: responses as bytes, a bounded number of them, until the view changes. Pure."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import NamedTuple

MAX_ENTRIES = 1000
"""Responses cached per query."""
MAX_BYTES = 16 << 20
"""Bytes of bodies cached per query; a single response may have an eighth of it."""


class CachedResponse(NamedTuple):
    """A response that only has to be sent: body, entity tag, and the other headers."""

    body: bytes
    etag: str
    headers: Mapping[str, str]


class ResponseCache:
    """The responses of one query that were requested last, as of one state of the view.

    `generation` is a number that grows with every change of the view's rows.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._responses: OrderedDict[Hashable, CachedResponse] = OrderedDict()
        self._bytes = 0
        self._generation = -1

    def get(self, key: Hashable, generation: int) -> CachedResponse | None:
        """Return the response for `key` if it shows the rows of `generation`, the current one."""
        self._advance(generation)
        found = self._responses.get(key)
        if found is not None:
            self._responses.move_to_end(key)
        return found

    def put(self, key: Hashable, generation: int, response: CachedResponse) -> None:
        """Cache a response; `generation` is that from before the rows were read: never too new."""
        self._advance(generation)
        if generation < self._generation or len(response.body) > self._max_bytes // 8:
            return
        self._drop(key)
        self._responses[key] = response
        self._bytes += len(response.body)
        while len(self._responses) > self._max_entries or self._bytes > self._max_bytes:
            self._drop(next(iter(self._responses)))

    def _advance(self, generation: int) -> None:
        """Drop everything that shows older rows."""
        if generation > self._generation:
            self._generation = generation
            self._responses.clear()
            self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        dropped = self._responses.pop(key, None)
        self._bytes -= len(dropped.body) if dropped else 0

    def __repr__(self) -> str:
        """Show how much is cached."""
        count = len(self._responses)
        return f"<ResponseCache: {count} with {self._bytes} bytes, generation {self._generation}>"
