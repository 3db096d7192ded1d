"""View: tables in a local SQLite file, built by applying the log in order. The base for services' views.

Methods marked `@applies(EventType)` write and get the writing connection; all others read `self.db`.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

from blog.core.events import Envelope, Event, Recorded, is_later
from blog.core.ids import sha256_hex

E = TypeVar("E", bound=Event)
Method = Callable[[Any, sqlite3.Connection, E], None]


class Applier(NamedTuple):
    """The method of a view that applies one type of event."""

    event: type[Event]
    method: str


def applies(event: type[E]) -> Callable[[Method[E]], Method[E]]:
    """Mark a method of a view: it turns `event` into rows. Called in log order, once per event."""

    def mark(method: Method[E]) -> Method[E]:
        vars(method).setdefault("applies", []).append(event)
        return method

    return mark


class View:
    """Rows made of events. Subclasses give `schema` (SQL text) and methods.

    The runtime makes one with a read-only connection for the reading methods. A change of what the same
    events become needs a change of the schema text too, if only of a comment: see `schema_hash`.
    """

    schema: ClassVar[str] = ""
    appliers: ClassVar[dict[str, Applier]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the appliers of the class."""
        super().__init_subclass__(**kwargs)
        cls.appliers = dict(cls.appliers) | {
            event.type: Applier(event, name)
            for name, method in vars(cls).items()
            for event in getattr(method, "applies", ())
        }

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.sequence = 0
        """While an event is applied: its sequence in the log."""

    @property
    def applied(self) -> int:
        """The sequence up to which all events are in the rows, as of the rows that are read with it."""
        row = self.db.execute("SELECT applied FROM view_position").fetchone()
        return row[0] if row else 0

    @classmethod
    def schema_hash(cls) -> str:
        """Identify what the file is made of: the tables, and the events that become rows.

        Another hash is another file, built from the start: a view that learns a type or a version of
        an event lacks the rows of earlier ones, although its tables are the same.
        """
        events = sorted((item.event.type, item.event.version) for item in cls.appliers.values())
        return sha256_hex(f"{cls.schema}\n{events}")

    def apply(self, db: sqlite3.Connection, recorded: Envelope | Recorded) -> Event | None:
        """Turn one event into rows of `db`; return it, or None if this view does not know it.

        That is its type, or a later version than this class knows. Raises pydantic.ValidationError when
        the data is not valid for this version of the event.
        """
        applier = self.appliers.get(recorded.type)
        if applier is None or is_later(recorded, applier.event):
            return None
        event = applier.event.model_validate(recorded.data)
        self.sequence = recorded.sequence or 0
        getattr(self, applier.method)(db, event)
        return event
