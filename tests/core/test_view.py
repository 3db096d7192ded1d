"""A view knows which of its methods takes which event."""

import sqlite3
from datetime import UTC, datetime

from blog.core.events import Envelope, Event
from blog.core.view import View, applies


class Counted(Event, key="thing"):
    """Something was counted."""

    thing: str


class Other(Event, key="thing"):
    """Something else."""

    thing: str


class Tally(View):
    """Counts."""

    schema = "CREATE TABLE tally (thing TEXT)"

    @applies(Counted)
    def count(self, db: sqlite3.Connection, event: Counted) -> None:
        """Count one more."""
        db.execute("INSERT INTO tally VALUES (?)", (event.thing,))


def test_apply_uses_the_marked_method_and_skips_other_types() -> None:
    """A type that the view does not know leaves no trace."""
    db = sqlite3.connect(":memory:")
    db.execute(Tally.schema)
    view = Tally(db)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    applied = [
        view.apply(db, Envelope.of(event, id="1", service="s", time=now))
        for event in (Counted(thing="a"), Other(thing="b"))
    ]
    assert applied == [Counted(thing="a"), None]
    assert db.execute("SELECT thing FROM tally").fetchall() == [("a",)]
    db.close()


def test_another_schema_is_another_hash() -> None:
    """The hash tells when the file has to be built anew."""

    class Wider(Tally):
        schema = Tally.schema + " -- one more column"

    assert Tally.schema_hash() != Wider.schema_hash()


def test_a_view_that_knows_no_place_has_applied_nothing() -> None:
    """The place is kept beside the rows, so that both are read as of one moment."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE view_position (applied INTEGER)")
    assert Tally(db).applied == 0
    db.execute("INSERT INTO view_position VALUES (7)")
    assert Tally(db).applied == 7
    db.close()
