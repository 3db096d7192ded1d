"""Batch budget: what one batch may still hold: so many events, of which types, of what size. Pure."""

from collections.abc import Collection

from blog.bus.log.schema import LogEntry

MAX_EVENTS = 100
"""Events of one batch."""
MAX_CHARACTERS = 240_000
"""Of their envelopes, unless a single one has more: in UTF-8 at most four bytes each, which is what an
instance accepts (`http.limits.BODY_LIMIT`)."""


class BatchBudget:
    """Room for `events` events of `types` (None: any), within MAX_CHARACTERS."""

    def __init__(self, events: int, types: Collection[str] | None) -> None:
        self._events = events
        self._types = types
        self._characters = MAX_CHARACTERS

    def allows(self, entry: LogEntry) -> bool:
        """Return whether `entry` is of a type that may be in the batch."""
        return self._types is None or entry.type in self._types

    def has_room(self, entry: LogEntry) -> bool:
        """Return whether there is room for `entry`: the first one may be of any size."""
        fits = len(entry.envelope) <= self._characters or self._characters == MAX_CHARACTERS
        return self._events > 0 and fits

    def try_add(self, entry: LogEntry) -> bool:
        """Add `entry` if it is allowed and there is room; return whether it was added."""
        if not (self.allows(entry) and self.has_room(entry)):
            return False
        self._events -= 1
        self._characters -= len(entry.envelope)
        return True

    def __repr__(self) -> str:
        """Show what is left."""
        return f"<BatchBudget: {self._events} events, {self._characters} characters>"
