"""Whose turn it is: served longest ago. Pure; O(1) where nobody is skipped."""

from collections import OrderedDict
from collections.abc import Container


class Rotation:
    """Ids in the order in which they were served; the next one is at the front."""

    def __init__(self) -> None:
        self._order: OrderedDict[str, None] = OrderedDict()

    def put(self, member: str) -> None:
        """Add `member` at the front: it was never served. One that is there keeps its place."""
        if member not in self._order:
            self._order[member] = None
            self._order.move_to_end(member, last=False)

    def remove(self, member: str) -> None:
        """Take `member` out, if it is there."""
        self._order.pop(member, None)

    def next(self, skip: Container[str] | None = None) -> str | None:
        """Return who was served longest ago and is not in `skip`, and count it as served now."""
        if skip is None:
            chosen = next(iter(self._order), None)
        else:
            chosen = next((member for member in self._order if member not in skip), None)
        if chosen is not None:
            self._order.move_to_end(chosen)
        return chosen

    def __repr__(self) -> str:
        """Show the order, next one first."""
        return f"<Rotation {' → '.join(self._order)}>"
