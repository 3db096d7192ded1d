"""Rendered: an answer as bytes, and the few that are kept until the view changes. Pure."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import NamedTuple

MOST = 1000
"""Answers that one query keeps."""
MOST_BYTES = 16 << 20
"""Bytes of bodies that one query keeps; a single answer may be an eighth of it."""


class CachedResponse(NamedTuple):
    """An answer that only has to be sent: body, entity tag, and the other headers."""

    body: bytes
    etag: str
    headers: Mapping[str, str]


class ResponseCache:
    """The answers of one query that were asked for last, as of one state of the view.

    `changed` is a number that grows with every change of the view's rows.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, CachedResponse] = OrderedDict()
        self._bytes = 0
        self._changed = -1

    def find(self, key: Hashable, changed: int) -> CachedResponse | None:
        """Return what is kept under `key` and shows the rows as they are: `changed` is that of now."""
        self._move(changed)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, changed: int, rendered: CachedResponse) -> None:
        """Keep an answer; `changed` is what it was before the rows were read: never too new."""
        self._move(changed)
        if changed < self._changed or len(rendered.body) > self._most_bytes // 8:
            return
        self._drop(key)
        self._kept[key] = rendered
        self._bytes += len(rendered.body)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _move(self, changed: int) -> None:
        """Forget everything that shows older rows."""
        if changed > self._changed:
            self._changed = changed
            self._kept.clear()
            self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        dropped = self._kept.pop(key, None)
        self._bytes -= len(dropped.body) if dropped else 0

    def __repr__(self) -> str:
        """Show how much is kept."""
        return f"<ResponseCache: {len(self._kept)} with {self._bytes} bytes, at change {self._changed}>"
