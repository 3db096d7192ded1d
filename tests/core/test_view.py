"""A view knows which of its methods takes which event."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from blog.core.events import Envelope, Event, Recorded
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
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE view_position (applied INTEGER)")
        assert Tally(db).applied == 0
        db.execute("INSERT INTO view_position VALUES (7)")
        assert Tally(db).applied == 7


def test_another_type_of_event_is_another_hash() -> None:
    """A view that learns one has not got what came of it before, though its tables are the same."""

    class Learned(Tally):
        @applies(Other)
        def count_other(self, db: sqlite3.Connection, event: Other) -> None:
            """Count it as well."""

    class Renamed(Tally):
        @applies(Counted)
        def count(self, db: sqlite3.Connection, event: Counted) -> None:
            """Count in another way of saying it."""

    assert len({Tally.schema_hash(), Learned.schema_hash()}) == 2
    assert Renamed.schema_hash() == Tally.schema_hash()


def test_another_version_of_an_event_is_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was skipped as a later version becomes rows."""
    before = Tally.schema_hash()
    monkeypatch.setattr(Counted, "version", 2)
    assert Tally.schema_hash() != before


def test_a_later_version_is_skipped_and_an_earlier_one_read() -> None:
    """Without a trace, like a type that the view does not know."""
    db = sqlite3.connect(":memory:")
    db.execute(Tally.schema)
    view = Tally(db)
    for version in (None, 1, 2):
        view.apply(db, Recorded(1, "e", Counted.type, {"thing": str(version)}, version))
    assert db.execute("SELECT thing FROM tally").fetchall() == [("None",), ("1",)]
    db.close()
