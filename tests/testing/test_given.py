"""Given events: the view in memory knows what one in a file knows."""

import sqlite3

from blog.core.events import Event
from blog.core.view import View, applies
from blog.testing.given import given


class Rung(Event, key="bell"):
    """A bell rang."""

    bell: str


class Bells(View):
    """When each bell rang last."""

    schema = "CREATE TABLE bells (bell TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;"

    @applies(Rung)
    def ring(self, db: sqlite3.Connection, event: Rung) -> None:
        """Note where in the log it was."""
        db.execute("INSERT OR REPLACE INTO bells VALUES (?, ?)", (event.bell, self.sequence))


def test_events_have_their_places_and_the_view_knows_how_far_it_is() -> None:
    """As in the log: 1, 2, 3 …."""
    view = given(Bells, Rung(bell="a"), Rung(bell="b"), Rung(bell="a"))
    assert view.db.execute("SELECT * FROM bells ORDER BY bell").fetchall() == [("a", 3), ("b", 2)]
    assert view.applied == 3
    assert given(Bells).applied == 0
