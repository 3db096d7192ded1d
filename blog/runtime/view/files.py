"""Slot: the files of one view on disk, and which of them is the view. A lock says whose they are.

`N.db` is what readers read: it held all of the log once. `N.building.db` is on its way there, and then
takes that place in one rename. What was there before is kept as `N.previous.db` if it is of another
schema: one, until the next such change, so that who goes back to the older program finds its file.
`N.incoming.db` and `N.outgoing.db` are snapshots under way, and rubbish after a crash.
"""

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple

from blog.eventlog.wire import Head

POSITION = """
CREATE TABLE view_position (
  schema_hash TEXT NOT NULL,     -- of the tables in this file, and of the events that become rows
  log TEXT NOT NULL,             -- the identity of the log it was built from
  applied INTEGER NOT NULL       -- the last sequence that is in the rows
) STRICT;
"""
"""The table beside the view's own. Its row is written last: a file without it is no view."""


class ViewPosition(NamedTuple):
    """From which log a view is built, and how far."""

    log: str
    applied: int

    def fits(self, head: Head) -> bool:
        """Tell whether the log goes on from here; who is ahead of it has what it no longer has."""
        return self.log == head.log and self.applied <= head.sequence


class ViewSlot:
    """The first free slot of `folder`, locked until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._lock, self.current = take_slot(folder)
        self.building = self.current.with_suffix(".building.db")
        self.previous = self.current.with_suffix(".previous.db")
        self.incoming = self.current.with_suffix(".incoming.db")
        self.outgoing = self.current.with_suffix(".outgoing.db")
        remove(self.incoming)
        remove(self.outgoing)

    def close(self) -> None:
        """Give the slot back."""
        self._lock.close()

    def choose(self, schema_hash: str, head: Head) -> Path:
        """Tell which file goes on from here: the one that fits the log and is furthest.

        Where none does it is `building`, and there is no such file. Nobody has one open for writing.
        """
        files = {path: position_of(path, schema_hash) for path in self._candidates}
        fitting = {path: at.applied for path, at in files.items() if at is not None and at.fits(head)}
        best = max(fitting, key=fitting.__getitem__, default=None)
        if best != self.building:
            remove(self.building)
        if best == self.previous:
            _move(self.previous, self.building)
        return self.current if best == self.current else self.building

    def take_in(self) -> None:
        """Go on with the snapshot that came in, if it turns out to fit: `choose` looks."""
        remove(self.building)
        _move(self.incoming, self.building)

    def swap(self, schema_hash: str) -> None:
        """Put `building` in the place of `current`. Nobody has either open.

        Raises sqlite3.Error when `building` cannot be read.
        """
        seal(self.building)
        if self.current.exists():
            self._put_aside(schema_hash)
        _move(self.building, self.current)
        _sync(self.current.parent)

    def _put_aside(self, schema_hash: str) -> None:
        try:
            seal(self.current)
        except sqlite3.Error:
            remove(self.current)
        else:
            # one of the same schema is of no use to any program: the rename that follows replaces it
            if position_of(self.current, schema_hash) is None:
                _move(self.current, self.previous)

    @property
    def _candidates(self) -> tuple[Path, Path, Path]:
        return self.current, self.building, self.previous

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<ViewSlot {self.current}>"


def take_slot(folder: Path) -> tuple[IO[Any], Path]:
    """Lock the first free slot of `folder`; return the held lock and the path of the view's file.

    A slot with files that this user may not write (somebody else's, or a folder) is as good as taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slot = 0
    while True:
        lock = _locked(folder / f"{slot}.lock")
        if lock is not None and all(_is_usable(path) for path in folder.glob(f"{slot}.*")):
            return lock, folder / f"{slot}.db"
        if lock is not None:
            lock.close()
        slot += 1


def _locked(path: Path) -> IO[Any] | None:
    """Lock a file; None where somebody has it, or it is not ours.

    Raises OSError where none can be made.
    """
    try:
        lock = path.open("a")
    except OSError:
        if os.path.lexists(path):
            return None
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _is_usable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK | os.W_OK)


def position_of(path: Path, schema_hash: str) -> ViewPosition | None:
    """Tell where the rows of a file stand; None without a file, a whole one, or one of this schema."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as db:
            return read_position(db, schema_hash)
    except sqlite3.Error:
        return None


def read_position(db: sqlite3.Connection, schema_hash: str) -> ViewPosition | None:
    """Tell where the rows stand; None for another schema. Raises sqlite3.Error where there are none."""
    row = db.execute(
        "SELECT log, applied FROM view_position WHERE schema_hash = ?", (schema_hash,)
    ).fetchone()
    return ViewPosition(*row) if row else None


def seal(path: Path) -> None:
    """Take the write-ahead log into the file, which is whole by itself then, and on disk.

    Raises sqlite3.Error where that cannot be done.
    """
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    _sync(path)


def remove(path: Path) -> None:
    """Remove a file, and then its write-ahead log: without that, it would be another file."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Rename a file that is whole by itself onto one that is, or onto a free name."""
    if not target.exists():
        remove(target)  # its log, if a crash left it there: SQLite would take it for that of `source`
    source.replace(target)


def _sync(path: Path) -> None:
    """Wait until the file, or what a folder has in it, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
