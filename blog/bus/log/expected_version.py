"""Expected version: what must not have happened to a key since its writer read it.

It is checked inside the appending transaction, and reads only rows of the key after that version: a few,
however long the history of the key is.
"""

import sqlite3
from typing import NamedTuple

from blog.core.errors import Conflict


class ExpectedVersion(NamedTuple):
    """The log has no event of `key` after `sequence`; with `types`, none of these types."""

    key: str
    sequence: int
    types: frozenset[str] = frozenset()

    def conflict(self, db: sqlite3.Connection, head: int) -> Conflict | None:
        """Return why it does not hold in a log that ends at `head`; None when it holds."""
        if self.sequence > head:
            # a writer that has seen more than there is has seen another log
            return Conflict(f"The log ends at {head}, before {self.sequence}.", sequence=head)
        found = self._first_after(db)
        if found is None:
            return None
        return Conflict(f"The key has an event at {found}, after {self.sequence}.", sequence=found)

    def _first_after(self, db: sqlite3.Connection) -> int | None:
        marks = ",".join("?" * len(self.types))
        of_types = f"AND type IN ({marks})" if marks else ""
        row = db.execute(
            "SELECT sequence FROM events INDEXED BY events_by_key"  # noqa: S608 - values are bound
            f" WHERE key = ? AND sequence > ? {of_types} ORDER BY sequence LIMIT 1",
            (self.key, self.sequence, *self.types),
        ).fetchone()
        return row[0] if row else None
