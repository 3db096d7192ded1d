"""Round robin: the member that was selected longest ago comes next. Pure; O(1) if none is skipped."""

from collections import deque
from collections.abc import Container


class RoundRobin:
    """Ids in the order in which they were selected; the next one is at the front.

    They are contiguous in memory: with a thousand instances, following links from one to the next costs
    more than all the rest of a selection.
    """

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._members: set[str] = set()

    def put(self, member: str) -> None:
        """Add `member` at the front, as it was never selected. One that is there keeps its position."""
        if member not in self._members:
            self._members.add(member)
            self._order.appendleft(member)

    def remove(self, member: str) -> None:
        """Remove `member`, if it is there."""
        if member in self._members:
            self._members.remove(member)
            self._order.remove(member)

    def next(self, skip: Container[str] | None = None) -> str | None:
        """Select the member that was selected longest ago and is not in `skip`; None if there is none."""
        order = self._order
        if skip is None:
            if not order:
                return None
            order.rotate(-1)
            return order[-1]
        for index, member in enumerate(order):
            if member not in skip:
                del order[index]
                order.append(member)
                return member
        return None

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._members)

    def __repr__(self) -> str:
        """Show the order, next one first."""
        return f"<RoundRobin {' → '.join(self._order)}>"
