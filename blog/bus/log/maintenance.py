"""Maintenance of a log's file without the bus: verify, backup, restore.

The first two work beside a running bus (SQLite's snapshots); restoring needs the lock of the file.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from blog.bus.log.schema import VERSION, chain_hash, lock_path
from blog.core.errors import SettingsError
from blog.core.files.atomic import replace_durably, sync
from blog.core.files.lock import FileLock, LockedError

MAX_PROBLEMS = 10
"""Problems that a report lists."""


class VerificationReport(NamedTuple):
    """What `verify` found. Nothing is wrong where `problems` is empty; it lists the first few."""

    identity: str
    head: int
    events: int
    problems: tuple[str, ...]


def verify(path: Path) -> VerificationReport:
    """Read every row of the log at `path`: sequences without gaps, the chain of hashes, the envelopes.

    Raises SettingsError when it is not a log.
    """
    with closing(_open(path)) as db:
        db.execute("BEGIN")  # one snapshot, whatever is appended meanwhile
        identity = _identity(db, path)
        problems: list[str] = []
        head = events = 0
        for head, found in _checked(db):
            events += 1
            if found and len(problems) < MAX_PROBLEMS:
                problems.append(f"sequence {head}: {found}")
        with suppress(sqlite3.DatabaseError):
            [result] = db.execute("PRAGMA quick_check(1)").fetchone()
            problems += [] if result == "ok" else [f"SQLite: {result}"]
        return VerificationReport(identity, head, events, tuple(problems))


def backup(path: Path, target: Path) -> VerificationReport:
    """Copy the log at `path` to the new file `target` while it is written to; verify the copy.

    Raises SettingsError when there is no log, or something at `target` already.
    """
    if target.exists():
        raise SettingsError(f"{target} exists already: name another file.")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(_open(path)) as db, closing(sqlite3.connect(part)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        report = verify(part)
        replace_durably(part, target)
    except (sqlite3.Error, OSError) as error:
        raise SettingsError(f"{path} cannot be copied to {target}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return report


def restore(source: Path, path: Path) -> VerificationReport:
    """Make the log at `path` what `source` holds. The one that was there is kept as `NAME.before-N`.

    It becomes another log, with an identity of its own: what was built from events after the backup
    must not go on from here. Raises SettingsError when a bus has the file, or when `source` is not a
    log or is a broken one.
    """
    report = verify(source)
    if report.problems:
        raise SettingsError(f"{source} is broken: {report.problems[0]}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(lock_path(path))
    except LockedError:
        raise SettingsError(f"A bus has {path}: stop it first.") from None
    with lock:
        part = path.with_name(f"{path.name}.part")
        identity = _copy_as_another(source, part)
        sync(part)  # before the log that is there is put aside
        _put_aside(path)
        replace_durably(part, path)
    return report._replace(identity=identity)


def _copy_as_another(source: Path, target: Path) -> str:
    """Copy a log to the file `target`, with a new identity; return that."""
    target.unlink(missing_ok=True)
    with closing(_open(source)) as db, closing(sqlite3.connect(target)) as copy:
        db.backup(copy)
    identity = str(uuid4())
    with closing(sqlite3.connect(target, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'identity'", (identity,))
    return identity


def _put_aside(path: Path) -> None:
    """Rename the log that is there, with the files that SQLite has beside it."""
    if not path.exists():
        return
    aside = next(
        name for n in count(1) if not (name := path.with_name(f"{path.name}.before-{n}")).exists()
    )
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))


def _checked(db: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Yield each sequence and what is wrong with it, "" if nothing is."""
    before, last = b"", 0
    rows = db.execute("SELECT sequence, id, type, key, envelope, hash FROM events ORDER BY sequence")
    for sequence, id_, type_, key, envelope, hash_ in rows:
        wrong = ""
        if sequence != last + 1:
            wrong = f"{last + 1} is missing before it"
        elif chain_hash(before, envelope) != hash_:
            wrong = "its hash does not match"
        elif _columns_of(envelope) != (sequence, id_, type_, key):
            wrong = "its envelope does not match its row"
        yield sequence, wrong
        before, last = hash_, sequence


def _columns_of(envelope: str) -> tuple[object, ...]:
    try:
        data = json.loads(envelope)
        return data["sequence"], data["id"], data["type"], data["subject"]
    except (ValueError, LookupError, TypeError):
        return ()


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SettingsError(f"There is no log at {path}.")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _identity(db: sqlite3.Connection, path: Path) -> str:
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        [identity] = db.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
    except (sqlite3.DatabaseError, TypeError) as error:
        raise SettingsError(f"{path} is not a log: {error}.") from None
    if not 1 <= version <= VERSION:
        raise SettingsError(f"{path} was written by a newer version (schema {version}).")
    return str(identity)
