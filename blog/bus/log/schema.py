"""The log's file: its tables, and what a row is. The schema has a version; an unknown one is refused."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from blog.core.events import Envelope

VERSION = 2

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  sequence INTEGER PRIMARY KEY,   -- 1, 2, 3 … without gaps
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  key TEXT NOT NULL,
  envelope TEXT NOT NULL,         -- JSON as it is served, with its sequence
  hash BLOB NOT NULL              -- SHA-256 of the hash before and this envelope
) STRICT;
CREATE INDEX events_by_key ON events (key, sequence);

CREATE TABLE subscriptions (
  name TEXT PRIMARY KEY,
  types TEXT NOT NULL,            -- JSON array
  watermark INTEGER NOT NULL,     -- everything up to here is settled, but for the exceptions
  paused INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
"""

# What is settled above the watermark; and, wherever they are, the dead and what is parked after them.
EXCEPTIONS = """
CREATE TABLE exceptions (
  subscription TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('done', 'dead', 'parked')),
  attempts INTEGER NOT NULL,
  reason TEXT,
  PRIMARY KEY (subscription, sequence)
) STRICT, WITHOUT ROWID;
"""

UPGRADE_FROM_1 = (
    "DROP INDEX events_by_type;",  # nothing was read by it: the order of sequences is what is wanted
    "ALTER TABLE exceptions RENAME TO exceptions_1;",
    EXCEPTIONS,
    "INSERT INTO exceptions SELECT * FROM exceptions_1;",
    "DROP TABLE exceptions_1;",
    "ALTER TABLE subscriptions ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;",
)
"""Version 1 did not park: what came after a dead event was delivered."""


class SettledState(StrEnum):
    """What became of an event: it worked, it is dead, or it is parked after a dead one of its key."""

    DONE = "done"
    DEAD = "dead"
    PARKED = "parked"


class LogEntry(NamedTuple):
    """One row of the log. `envelope` is JSON text, ready to be served."""

    sequence: int
    id: str
    type: str
    key: str
    envelope: str


class SettledEvent(NamedTuple):
    """An event with which a subscription is done, for now or for good. The dead have a reason."""

    sequence: int
    key: str
    attempts: int
    state: SettledState = SettledState.DONE
    reason: str | None = None


class SubscriptionPosition(NamedTuple):
    """How far a subscription is: everything up to `watermark`, and some above it.

    `parked` are the sequences that wait, by key; keys in `dead` have an event that must be redriven or
    discarded first.
    """

    types: frozenset[str]
    watermark: int = 0
    settled: frozenset[int] = frozenset()
    parked: Mapping[str, Sequence[int]] = {}
    dead: frozenset[str] = frozenset()
    is_paused: bool = False


class DeadLetter(NamedTuple):
    """An event that never worked for a subscription, and how many of its key are parked after it."""

    subscription: str
    attempts: int
    reason: str
    parked: int
    entry: LogEntry


def encode_row(envelope: Envelope, sequence: int) -> str:
    """Return the JSON of `envelope` with the sequence that the log gives it, whatever it had."""
    text = envelope.model_dump_json(exclude_none=True, exclude={"sequence"})
    return f'{text[:-1]},"sequence":{sequence}}}'


def chain_hash(previous: bytes, envelope: str) -> bytes:
    """Return the hash of a row, given that of the row before it."""
    return hashlib.sha256(previous + envelope.encode()).digest()


def lock_path(path: Path) -> Path:
    """Return the file whose lock the process has that writes to the log at `path`."""
    return path.with_name(f"{path.name}.lock")
