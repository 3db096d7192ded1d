"""A service with a view, for the tests of how views live: seeds are sown, and a bed shows them."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from blog.core.contract import Service
from blog.core.events import Event
from blog.core.view import View, applies
from blog.eventlog.client import EventBatch

LOG = "log-1"


class Sown(Event, key="seed"):
    """A seed was sown."""

    seed: str


class Picked(Event, key="seed"):
    """A plant was picked."""

    seed: str


class Bed(View):
    """Seeds."""

    schema = "CREATE TABLE seeds (name TEXT PRIMARY KEY) STRICT; CREATE INDEX by_name ON seeds (name);"

    @applies(Sown)
    def sow(self, db: sqlite3.Connection, event: Sown) -> None:
        """Keep the seed."""
        db.execute("INSERT INTO seeds VALUES (?)", (event.seed,))

    def names(self) -> list[str]:
        """List the seeds."""
        return [name for (name,) in self.db.execute("SELECT name FROM seeds ORDER BY name")]


class Wider(Bed):
    """The same with another schema."""

    schema = Bed.schema + "CREATE TABLE more (x TEXT) STRICT;"


class Tended(Bed):
    """The same tables, made of one more type of event."""

    @applies(Picked)
    def pick(self, db: sqlite3.Connection, event: Picked) -> None:
        """Take the plant away."""
        db.execute("DELETE FROM seeds WHERE name = ?", (event.seed,))


garden = Service("garden", view=Bed)


@garden.query("GET", "/seeds")
def seeds(view: Bed) -> list[str]:
    """List the seeds."""
    return view.names()


def row(sequence: int, seed: str | None, kind: type[Event] = Sown, **extensions: Any) -> dict[str, Any]:
    """Give an event as the bus sends it; without a seed its data cannot be read."""
    data = {} if seed is None else {"seed": seed}
    return {"sequence": sequence, "id": f"e{sequence}", "type": kind.type, "data": data} | extensions


def batch(rows: Iterable[dict[str, Any]] = (), *, through: int, log: str = LOG) -> EventBatch:
    """Give what a follower gets."""
    return EventBatch(log, "\n".join(json.dumps(item) for item in rows).encode(), through)


def sown(first: int, last: int) -> list[dict[str, Any]]:
    """Give the events from `first` to `last`: one seed each."""
    return [row(number, f"s{number:06}") for number in range(first, last + 1)]


def names_in(path: Path) -> list[str] | None:
    """Read the seeds in a file that is whole by itself or with its log; None if it is none."""
    if not path.exists():
        return None
    db = sqlite3.connect(path)
    try:
        return Bed(db).names()
    except sqlite3.Error:
        return None
    finally:
        db.close()


def rows_of(path: Path) -> dict[str, list[Any]]:
    """Read everything that is in a view's file, whatever its tables."""
    db = sqlite3.connect(path)
    try:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        read: Callable[[str], list[Any]] = lambda name: db.execute(f"SELECT * FROM {name}").fetchall()  # noqa: E731, S608
        return {name: sorted(read(name)) for name in tables}
    finally:
        db.close()
