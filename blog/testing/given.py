"""Given events: a view in memory for tests that call a service's functions."""

import sqlite3
import weakref
from datetime import UTC, datetime
from typing import TypeVar

from blog.core.events import Envelope, Event
from blog.core.ids import new_id
from blog.core.view import View

V = TypeVar("V", bound=View)

# the position of a view in the log (`View.applied`); in a file, the runtime keeps it
_POSITION = (
    "CREATE TABLE view_position (applied INTEGER NOT NULL) STRICT; INSERT INTO view_position VALUES (0);"
)


def given(view: type[V], *events: Event) -> V:
    """Return a `view` in memory that has applied `events`, in this order, from sequence 1 on."""
    db = sqlite3.connect(":memory:")
    db.executescript(_POSITION)
    db.executescript(view.schema)
    made = view(db)
    # a test should not have to close what it never opened
    weakref.finalize(made, db.close)
    for sequence, event in enumerate(events, 1):
        envelope = Envelope.of(event, id=new_id(), service="given", time=datetime.now(UTC))
        made.apply(db, envelope.model_copy(update={"sequence": sequence}))
        db.execute("UPDATE view_position SET applied = ?", (sequence,))
    return made
