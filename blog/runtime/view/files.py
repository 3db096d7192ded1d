"""View files: the files of one view on disk, and which of them is the view. A lock says whose they are.

`N.db` is what readers read: it held all of the log once. `N.building.db` is being built, and then
replaces it in one rename. The file that was replaced is kept as `N.previous.db` if it is of another
schema: one, until the next such change, so that going back to the older program finds its file.
`N.incoming.db` and `N.outgoing.db` are snapshots in transfer, and rubbish after a crash.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from blog.core.files.atomic import sync
from blog.core.files.lock import NO_LOCKS, FileLock, LockedError
from blog.eventlog.wire import Head

POSITION = """
CREATE TABLE view_position (
  schema_hash TEXT NOT NULL,     -- of the tables in this file, and of the events that become rows
  log TEXT NOT NULL,             -- the identity of the log it was built from
  applied INTEGER NOT NULL       -- the last sequence that is in the rows
) STRICT;
"""
"""The table beside the view's own. Its row is written last: a file without it is not a view."""


class ViewPosition(NamedTuple):
    """From which log a view is built, and how far."""

    log: str
    applied: int

    def fits(self, head: Head) -> bool:
        """Return whether the log continues from here; a view that is ahead has events it lost."""
        return self.log == head.log and self.applied <= head.sequence


class ViewFiles:
    """The first files in `folder` that no other process uses, locked until they are closed."""

    def __init__(self, folder: Path) -> None:
        self._lock, self.current = lock_free_files(folder)
        self.building = self.current.with_suffix(".building.db")
        self.previous = self.current.with_suffix(".previous.db")
        self.incoming = self.current.with_suffix(".incoming.db")
        self.outgoing = self.current.with_suffix(".outgoing.db")
        remove(self.incoming)
        remove(self.outgoing)

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def choose(self, schema_hash: str, head: Head) -> Path:
        """Return the file to continue with: of those that fit the log, the most advanced.

        If none fits it is `building`, and there is no such file. None may be open for writing.
        """
        files = {path: position_of(path, schema_hash) for path in self._candidates}
        fitting = {path: at.applied for path, at in files.items() if at is not None and at.fits(head)}
        best = max(fitting, key=fitting.__getitem__, default=None)
        if best != self.building:
            remove(self.building)
        if best == self.previous:
            _move(self.previous, self.building)
        return self.current if best == self.current else self.building

    def adopt_snapshot(self) -> None:
        """Make the incoming snapshot the file to build on; `choose` checks whether it fits."""
        remove(self.building)
        _move(self.incoming, self.building)

    def swap(self, schema_hash: str) -> None:
        """Replace `current` by `building`. Neither may be open.

        Raises sqlite3.Error when `building` cannot be read.
        """
        checkpoint(self.building)
        if self.current.exists():
            self._keep_previous(schema_hash)
        _move(self.building, self.current)
        sync(self.current.parent)

    def _keep_previous(self, schema_hash: str) -> None:
        try:
            checkpoint(self.current)
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


def lock_free_files(folder: Path) -> tuple[FileLock, Path]:
    """Lock the first number in `folder` that is free; return the lock and the path of the view's file.

    A number with files that this user may not write (another user's, or a folder) counts as taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        lock = _locked(folder / f"{number}.lock")
        if lock is not None and all(_is_usable(path) for path in folder.glob(f"{number}.*")):
            return lock, folder / f"{number}.db"
        if lock is not None:
            lock.close()
        number += 1


def _locked(path: Path) -> FileLock | None:
    """Lock a file; None if another process holds it, or it is not ours.

    Raises OSError if it cannot be created, or the file system has no locks.
    """
    try:
        return FileLock(path)
    except LockedError:
        return None
    except OSError as error:
        if error.errno in NO_LOCKS or not os.path.lexists(path):
            raise
        return None


def _is_usable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK | os.W_OK)


def position_of(path: Path, schema_hash: str) -> ViewPosition | None:
    """Return the position of a file; None if it does not exist, is damaged, or of another schema."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as db:
            return read_position(db, schema_hash)
    except sqlite3.Error:
        return None


def read_position(db: sqlite3.Connection, schema_hash: str) -> ViewPosition | None:
    """Return the position of the rows; None for another schema. Raises sqlite3.Error without any."""
    row = db.execute(
        "SELECT log, applied FROM view_position WHERE schema_hash = ?", (schema_hash,)
    ).fetchone()
    return ViewPosition(*row) if row else None


def checkpoint(path: Path) -> None:
    """Move the write-ahead log into the file, which is then complete by itself, and on disk.

    Raises sqlite3.Error when that fails.
    """
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    sync(path)


def remove(path: Path) -> None:
    """Remove a file, and then its write-ahead log: without that, it would be a different file."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Rename a file that is complete by itself onto one that is, or onto a free name."""
    if not target.exists():
        remove(target)  # its log, if a crash left it there: SQLite would take it for that of `source`
    source.replace(target)
