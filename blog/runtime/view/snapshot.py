"""Snapshot: a view's file, copied as it was at one moment, and checked before it is used.

No HTTP in here, and nothing is changed but the copy: `transfer` sends it from one replica to another.
"""

import hashlib
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple

from blog.core.errors import StorageFull, Unavailable
from blog.core.view import View
from blog.runtime.view.files import POSITION, ViewPosition, checkpoint, read_position, remove

_PAGES = 2048  # of 4 KiB, between two checks whether the copy is still needed
_SPACE_FACTOR = 1.5  # times its size that a file needs free: the others on that disk go on growing


class SnapshotStopped(Exception):
    """The copy is no longer needed."""


class SnapshotRejected(Exception):
    """A snapshot, or what its response says of it, cannot be used; the text says why."""


class SnapshotCopy(NamedTuple):
    """A copied file: its position, its size in bytes and its SHA-256."""

    schema_hash: str
    position: ViewPosition
    size: int
    digest: bytes


def copy(source: Path, target: Path, schema_hash: str, stop: threading.Event) -> SnapshotCopy:
    """Copy the open database `source` to `target` as it is now.

    It is read in one transaction: its writer and readers go on, and what they change is not in the
    copy. `stop` ends it between two steps. Raises SnapshotStopped, Unavailable when there is no such
    file, StorageFull, sqlite3.Error; the copy is removed then.
    """
    remove(target)
    try:
        position = _backup(source, target, schema_hash, stop)
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            return SnapshotCopy(schema_hash, position, os.fstat(file.fileno()).st_size, digest)
    except BaseException:
        remove(target)
        raise


def must_have_space(folder: Path, size: int) -> None:
    """Raise StorageFull if a file of `size` bytes would fill the disk up."""
    if disk_usage(folder).free < size * _SPACE_FACTOR:
        raise StorageFull("The disk has no space for a snapshot.")


def _backup(source: Path, target: Path, schema_hash: str, stop: threading.Event) -> ViewPosition:
    must_have_space(target.parent, source.stat().st_size)
    with closing(_connect(source, "ro")) as origin, closing(sqlite3.connect(target)) as copied:
        copied.execute("PRAGMA synchronous=OFF")  # it has to last as long as this process
        origin.execute("BEGIN")
        position = read_position(origin, schema_hash)
        if position is None:
            raise Unavailable("The view is still being built.")
        origin.backup(copied, pages=_PAGES, progress=lambda *_: _check_stop(stop))
        copied.execute("PRAGMA journal_mode=DELETE")
        return position


def check(path: Path, view: type[View]) -> ViewPosition:
    """Check that a file is an undamaged one of `view`, and sync it to disk; return its position.

    Raises SnapshotRejected. The content of the rows cannot be checked without the whole log.
    """
    try:
        with closing(_connect(path, "rw")) as db:
            position = _checked(db, view)
        checkpoint(path)
    except sqlite3.Error as error:
        raise SnapshotRejected(f"SQLite reports: {error}") from error
    return position


def _checked(db: sqlite3.Connection, view: type[View]) -> ViewPosition:
    db.execute("PRAGMA trusted_schema=OFF")
    [found] = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise SnapshotRejected(f"it is damaged: {found}")
    if _tables(db) != _expected(view):
        raise SnapshotRejected("its tables are not those of the view")
    position = read_position(db, view.schema_hash())
    if position is None:
        raise SnapshotRejected("it is of another schema")
    return position


def _expected(view: type[View]) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(POSITION + view.schema)
        return _tables(db)


def _tables(db: sqlite3.Connection) -> list[tuple[str, ...]]:
    return db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        raise SnapshotStopped
