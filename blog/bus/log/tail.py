"""Tail: the newest events in memory, so that readers near the head need no disk. Pure.

Most reads are for what was appended just now, by every follower.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from blog.bus.log.schema import LogEntry

TAIL_BYTES = 4 << 20
"""Bytes of envelopes that are kept; for a moment it may be twice as many."""
PAGE_BYTES = 1 << 20
"""Bytes of envelopes in one page, unless one event alone has more."""


class EventFilter(NamedTuple):
    """Which events: of these types (none named: all), of this key."""

    types: frozenset[str] = frozenset()
    key: str | None = None

    def matches(self, entry: LogEntry) -> bool:
        """Return whether `entry` passes the filter."""
        return (not self.types or entry.type in self.types) and self.key in (None, entry.key)


class TailPage(NamedTuple):
    """Events in log order; everything up to `through` has been considered."""

    entries: Sequence[LogEntry]
    through: int


def take_page(entries: Iterable[LogEntry], limit: int) -> tuple[list[LogEntry], bool]:
    """Return the first `limit` of `entries`, or PAGE_BYTES of them, and whether there may be more."""
    found: list[LogEntry] = []
    size = 0
    for entry in entries:
        found.append(entry)
        size += len(entry.envelope)
        if len(found) >= limit or size >= PAGE_BYTES:
            return found, True
    return found, False


class Tail:
    """The events after `start`, up to the head of the log."""

    def __init__(self, head: int) -> None:
        self.start = head
        self._entries: list[LogEntry] = []
        self._size = 0

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Add what was committed; drop the oldest when there are too many bytes."""
        self._entries += entries
        self._size += sum(len(entry.envelope) for entry in entries)
        if self._size > 2 * TAIL_BYTES:
            self._drop_oldest()

    def read(self, after: int, limit: int, event_filter: EventFilter) -> TailPage | None:
        """Return up to `limit` events after `after`; None when they are not all here."""
        if after < self.start:
            return None
        rest = self._entries[after - self.start :] if after > self.start else self._entries
        found, is_cut = take_page((entry for entry in rest if event_filter.matches(entry)), limit)
        return TailPage(
            found, found[-1].sequence if is_cut else max(after, self.start + len(self._entries))
        )

    def _drop_oldest(self) -> None:
        keep = len(self._entries)
        size = 0
        while keep and size + len(self._entries[keep - 1].envelope) <= TAIL_BYTES:
            keep -= 1
            size += len(self._entries[keep].envelope)
        self.start += keep
        del self._entries[:keep]
        self._size = size

    def __repr__(self) -> str:
        """Show what is here."""
        return f"<Tail: {len(self._entries)} events after {self.start}, {self._size} bytes>"
