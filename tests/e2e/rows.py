"""Rows of a view: a fresh one from the log, and what of a view's file differs from it. Tables are hashed.

What a full-text index keeps inside depends on when its parts were merged: of it count the words it finds.
`view_position` says how far a file is, and is no part of what the view shows.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from blog.core.events import Envelope
from blog.runtime import catalog

Row = tuple[object, ...]
POSITION = "view_position"


def view_files(data: Path) -> list[Path]:
    """List the files of all views in a data directory: the slots, not what is only being built."""
    with_view = (name for name in catalog.names() if catalog.load(name).view is not None)
    files = (file for name in with_view for file in (data / name).glob("*.db"))
    return sorted(file for file in files if file.stem.isdigit())


def log_file(data: Path) -> Path:
    """Return where the log is."""
    return data / "bus" / "log.db"


def opened(path: Path) -> sqlite3.Connection:
    """Open a file to read it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def envelopes(log: Path, through: int | None = None) -> Iterator[Envelope]:
    """Read the log in order, as JSON that was once acknowledged."""
    with closing(opened(log)) as db:
        sql = "SELECT envelope FROM events WHERE sequence <= coalesce(?, sequence) ORDER BY sequence"
        for (text,) in db.execute(sql, (through,)):
            yield Envelope.model_validate_json(text)


def applied(path: Path) -> int:
    """Tell how far a view's file is; -1 for one that was never begun, or is just being replaced."""
    try:
        with closing(opened(path)) as db:
            [position] = db.execute("SELECT applied FROM view_position").fetchone()
    except (sqlite3.OperationalError, TypeError):
        return -1
    return int(position)


def rebuilt(service: str, events: Iterable[Envelope]) -> sqlite3.Connection:
    """Build the view of `service` from scratch, in memory."""
    view = catalog.load(service).view
    assert view is not None
    db = sqlite3.connect(":memory:")
    db.executescript(view.schema)
    one = view(db)
    for event in events:
        try:
            one.apply(db, event)
        except ValidationError:
            continue  # an event of another version is skipped, as the runtime does
    return db


def differences(path: Path, log: Path) -> list[str]:
    """Say what of a view's file differs from one that is built from the log, up to where the file is."""
    with (
        closing(opened(path)) as found,
        closing(rebuilt(path.parent.name, envelopes(log, applied(path)))) as wanted,
    ):
        names = tables(found) | tables(wanted)
        return [
            f"{path.parent.name}/{path.name}: {name}: {first_difference(found, wanted, name)}"
            for name in sorted(names)
            if hashed(found, name) != hashed(wanted, name)
        ]


def tables(db: sqlite3.Connection) -> set[str]:
    """Name the tables that hold what a view knows."""
    return {
        name
        for schema, name, kind, *_ in db.execute("PRAGMA table_list")
        if schema == "main" and kind != "shadow" and not name.startswith("sqlite_") and name != POSITION
    }


def rows_of(db: sqlite3.Connection, table: str) -> list[Row]:
    """Return all rows in an order of their own; of a full-text index, its words and where they are."""
    source = f"main.{table}"
    [sql] = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone() or [""]
    if "using fts5" in sql.lower():
        source = f"temp.{table}_words"
        db.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {source} USING fts5vocab(main, {table}, instance)"
        )
    return sorted(db.execute(f"SELECT * FROM {source}"), key=repr)  # noqa: S608 - names of tables


def hashed(db: sqlite3.Connection, table: str) -> str:
    """Hash the rows of a table; "" when there is no such table."""
    if table not in tables(db):
        return ""
    return sha256(repr(rows_of(db, table)).encode()).hexdigest()


def first_difference(found: sqlite3.Connection, wanted: sqlite3.Connection, table: str) -> str:
    """Show a row that only one of them has."""
    if not {table} <= tables(found) & tables(wanted):
        return "only one of them has it"
    here, there = rows_of(found, table), rows_of(wanted, table)
    more, less = sorted(set(here) - set(there), key=repr), sorted(set(there) - set(here), key=repr)
    return f"{len(here)} rows for {len(there)}; not in the log: {more[:1]}; missing: {less[:1]}"
