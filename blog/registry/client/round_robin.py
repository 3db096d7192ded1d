"""Whose turn it is: served longest ago. Pure; O(1) where nobody is skipped."""

from collections import deque
from collections.abc import Container


class RoundRobin:
    """Ids in the order in which they were served; the next one is at the front.

    They lie side by side in memory: with a thousand instances, following links from one to the next
    costs more than all the rest of taking turns.
    """

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._members: set[str] = set()

    def put(self, member: str) -> None:
        """Add `member` at the front: it was never served. One that is there keeps its place."""
        if member not in self._members:
            self._members.add(member)
            self._order.appendleft(member)

    def remove(self, member: str) -> None:
        """Take `member` out, if it is there."""
        if member in self._members:
            self._members.remove(member)
            self._order.remove(member)

    def next(self, skip: Container[str] | None = None) -> str | None:
        """Return who was served longest ago and is not in `skip`, and count it as served now."""
        order = self._order
        if skip is None:
            if not order:
                return None
            order.rotate(-1)
            return order[-1]
        for place, member in enumerate(order):
            if member not in skip:
                del order[place]
                order.append(member)
                return member
        return None

    def __repr__(self) -> str:
        """Show the order, next one first."""
        return f"<RoundRobin {' → '.join(self._order)}>"
