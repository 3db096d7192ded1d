"""The log's file: its tables, and what a row is. The schema has a version; an unknown one is refused."""

import hashlib
from typing import NamedTuple

from blog.core.events import Envelope

VERSION = 1

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
CREATE INDEX events_by_type ON events (type, sequence);

CREATE TABLE subscriptions (
  name TEXT PRIMARY KEY,
  types TEXT NOT NULL,            -- JSON array
  watermark INTEGER NOT NULL      -- everything up to here is settled
) STRICT, WITHOUT ROWID;

CREATE TABLE exceptions (         -- what is settled above the watermark, and what is dead
  subscription TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('done', 'dead')),
  attempts INTEGER NOT NULL,
  reason TEXT,
  PRIMARY KEY (subscription, sequence)
) STRICT, WITHOUT ROWID;
"""


class Entry(NamedTuple):
    """One row of the log. `envelope` is JSON text, ready to be served."""

    sequence: int
    id: str
    type: str
    key: str
    envelope: str


class Settled(NamedTuple):
    """An event that a subscription is done with; dead with a reason if it never worked."""

    sequence: int
    key: str
    attempts: int
    dead: str | None = None


class Position(NamedTuple):
    """How far a subscription is: everything up to `watermark`, and some above it."""

    types: frozenset[str]
    watermark: int
    settled: frozenset[int]


def sealed(envelope: Envelope, sequence: int) -> str:
    """Encode `envelope` with the sequence that the log gives it."""
    return envelope.model_copy(update={"sequence": sequence}).to_json()


def chained(before: bytes, envelope: str) -> bytes:
    """Hash a row together with the one before it."""
    return hashlib.sha256(before + envelope.encode()).digest()
