"""Room: what one load may take: so many events, of which types, of what size. Pure."""

from collections.abc import Collection

from blog.bus.log.schema import LogEntry

MAX_BATCH = 100
"""Events that travel together."""
MAX_CHARACTERS = 240_000
"""Of their envelopes, unless one alone has more: in UTF-8 at most four bytes each, which is what an
instance takes (`http.limits.BODY_LIMIT`)."""


class BatchBudget:
    """What one load may still take: so many events of `types` (None: any), in so many characters."""

    def __init__(self, events: int, types: Collection[str] | None) -> None:
        self._events = events
        self._types = types
        self._characters = MAX_CHARACTERS

    def wants(self, entry: LogEntry) -> bool:
        """Tell whether `entry` is of a type that may go there."""
        return self._types is None or entry.type in self._types

    def takes(self, entry: LogEntry) -> bool:
        """Tell whether there is room for `entry`: the first may be of any size."""
        fits = len(entry.envelope) <= self._characters or self._characters == MAX_CHARACTERS
        return self._events > 0 and fits

    def put(self, entry: LogEntry) -> bool:
        """Take `entry`, or tell that it cannot go along."""
        if not (self.wants(entry) and self.takes(entry)):
            return False
        self._events -= 1
        self._characters -= len(entry.envelope)
        return True
