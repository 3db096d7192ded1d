"""Given events: a view in memory for tests that call a service's functions."""

import sqlite3
import weakref
from datetime import UTC, datetime
from typing import TypeVar

from blog.core.events import Envelope, Event
from blog.core.ids import new_id
from blog.core.view import View

V = TypeVar("V", bound=View)


def given(view: type[V], *events: Event) -> V:
    """Return a `view` in memory that has applied `events`, in this order."""
    db = sqlite3.connect(":memory:")
    db.executescript(view.schema)
    made = view(db)
    # a test should not have to close what it never opened
    weakref.finalize(made, db.close)
    for sequence, event in enumerate(events, start=1):
        envelope = Envelope.of(event, id=new_id(), service="given", time=datetime.now(UTC))
        made.apply(db, envelope.model_copy(update={"sequence": sequence}))
    return made
