"""Deadlines: what must happen within a fixed time, the oldest first. Pure.

There is no timer per connection: starting and cancelling cost one entry in a dictionary, and the caller
asks now and then what has expired. All items of one table have the same time, so the order in which they
started is the order in which they expire.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Items that have `seconds` from when they started. `now` is monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started: dict[T, float] = {}

    def start(self, item: T, now: float) -> None:
        """Start, or restart, the time of `item`."""
        self._started.pop(item, None)
        self._started[item] = now

    def cancel(self, item: T) -> None:
        """Remove `item`, if it is there: it was in time."""
        self._started.pop(item, None)

    def pop_expired(self, now: float) -> list[T]:
        """Remove and return the items whose time is up, the oldest first."""
        expired: list[T] = []
        for item, started in self._started.items():
            if now - started < self.seconds:
                break
            expired.append(item)
        for item in expired:
            del self._started[item]
        return expired

    def started_before(self, then: float) -> list[T]:
        """Return the items that started at `then` or earlier, the oldest first."""
        early: list[T] = []
        for item, started in self._started.items():
            if started > then:
                break
            early.append(item)
        return early

    def oldest(self) -> T | None:
        """Return the item that started first, None when there is none."""
        return next(iter(self._started), None)

    def __contains__(self, item: T) -> bool:
        """Return whether the time of `item` runs."""
        return item in self._started

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._started)

    def __repr__(self) -> str:
        """Show how many there are, and their time."""
        return f"<Deadlines of {self.seconds:g} s: {len(self._started)}>"
