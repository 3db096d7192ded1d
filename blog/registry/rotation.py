"""Rotation: whose turn it is. Pure: served longest ago comes first, new ones before all others."""

from collections import OrderedDict
from collections.abc import Container


class Rotation:
    """Ids in the order of their turns. `put`, `remove` and an undisturbed `next` take O(1)."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, None] = OrderedDict()

    def put(self, id: str) -> None:  # noqa: A002 - it is what instances call it
        """Let `id` take part, from the next turn on; one that does so already keeps its place."""
        if id not in self._turns:
            self._turns[id] = None
            self._turns.move_to_end(id, last=False)

    def remove(self, id: str) -> None:  # noqa: A002 - it is what instances call it
        """Let `id` take part no more; unknown ones are no mistake."""
        self._turns.pop(id, None)

    def next(self, skip: Container[str] = ()) -> str | None:
        """Return the one that was served longest ago and is not in `skip`; this was its turn."""
        chosen = next((id_ for id_ in self._turns if id_ not in skip), None)
        if chosen is not None:
            self._turns.move_to_end(chosen)
        return chosen

    def __len__(self) -> int:
        return len(self._turns)

    def __repr__(self) -> str:
        """Show the turns, the next one first."""
        return f"<Rotation: {', '.join(self._turns) or 'nobody'}>"
