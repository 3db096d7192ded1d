"""Deadlines: what must happen within a fixed time, the oldest first. Pure.

There is no timer per connection: beginning and ending cost one entry in a dictionary, and somebody
asks now and then what is due. All that share one table have the same time, so that the order in
which they began is the order in which they are due.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Who has `seconds` from when they began. `now` is monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began: dict[T, float] = {}

    def begin(self, who: T, now: float) -> None:
        """Begin, or begin again, the time of `who`."""
        self._began.pop(who, None)
        self._began[who] = now

    def end(self, who: T) -> None:
        """Forget `who`, if it is there: it was in time."""
        self._began.pop(who, None)

    def due(self, now: float) -> list[T]:
        """Take out and return whose time is up, the oldest first."""
        late: list[T] = []
        for who, began in self._began.items():
            if now - began < self.seconds:
                break
            late.append(who)
        for who in late:
            del self._began[who]
        return late

    def begun_before(self, then: float) -> list[T]:
        """Return whose time runs since `then` or longer, the oldest first."""
        early: list[T] = []
        for who, began in self._began.items():
            if began > then:
                break
            early.append(who)
        return early

    def oldest(self) -> T | None:
        """Return who has waited longest, None when there is nobody."""
        return next(iter(self._began), None)

    def all(self) -> list[T]:
        """List everybody, the oldest first."""
        return list(self._began)

    def __contains__(self, who: T) -> bool:
        """Tell whether the time of `who` runs."""
        return who in self._began

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._began)

    def __repr__(self) -> str:
        """Show how many there are, and their time."""
        return f"<Deadlines of {self.seconds:g} s: {len(self._began)}>"
