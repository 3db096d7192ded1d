"""Expectation: what must not have happened since somebody looked. Asked inside the appending transaction.

It reads only rows of the key that are behind what was seen: a few, however long the key's history is.
"""

import sqlite3
from typing import NamedTuple

from blog.core.errors import Conflict


class ExpectedVersion(NamedTuple):
    """That of `key` nothing came behind `sequence`; with `types`, none of these."""

    key: str
    sequence: int
    types: frozenset[str] = frozenset()

    def refusal(self, db: sqlite3.Connection, head: int) -> Conflict | None:
        """Return why it does not hold in a log that ends at `head`; None when it does."""
        if self.sequence > head:
            # whoever has seen more than there is has seen another log
            return Conflict(f"The log ends at {head}, before {self.sequence}.", sequence=head)
        came = self._first_behind(db)
        if came is None:
            return None
        return Conflict(f"The key moved on to {came} behind {self.sequence}.", sequence=came)

    def _first_behind(self, db: sqlite3.Connection) -> int | None:
        marks = ",".join("?" * len(self.types))
        among = f"AND type IN ({marks})" if marks else ""
        row = db.execute(
            "SELECT sequence FROM events INDEXED BY events_by_key"  # noqa: S608 - values are bound
            f" WHERE key = ? AND sequence > ? {among} ORDER BY sequence LIMIT 1",
            (self.key, self.sequence, *self.types),
        ).fetchone()
        return row[0] if row else None
