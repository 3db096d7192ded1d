"""Store: the open files of a view. Rows and position change in one transaction.

Writing has one thread and connection, reading a second, read-only one, so that catching up never
stalls queries. What is written is what is read, or a new file beside it until that is swapped in.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from blog.core.contract import Applied
from blog.core.errors import Unavailable
from blog.core.events import Recorded
from blog.core.logs import get_logger
from blog.core.view import View
from blog.eventlog.client import EventBatch
from blog.eventlog.wire import Head
from blog.runtime.view.files import POSITION, ViewPosition, ViewSlot, position_of, read_position
from blog.runtime.view.snapshot import SnapshotCopy, copy

R = TypeVar("R")
log = get_logger()


class ApplyStep(NamedTuple):
    """What one transaction has done: events, the last sequence looked at, and where the next begins."""

    applied: list[Applied]
    through: int
    next: int


class _OpenView(NamedTuple):
    """An open file and the view on it."""

    path: Path
    db: sqlite3.Connection
    view: View


class ViewStore:
    """The file behind one view. Blocking work runs on its two threads."""

    def __init__(self, view: type[View], folder: Path) -> None:
        self.slot = ViewSlot(folder)
        self._view = view
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="view-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="view-read")
        self._writing: _OpenView | None = None
        self._reading: _OpenView | None = None
        self._copying = threading.Lock()
        self._skipped: set[tuple[str, int | None]] = set()

    async def __aenter__(self) -> Self:
        """Nothing is open before `settle`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what is open, then give the slot back."""
        for executor, close in ((self._reader, self._close_reading), (self._writer, self._close_writing)):
            await self._run(executor, close)
            executor.shutdown(wait=False)
        self.slot.close()

    @property
    def is_building(self) -> bool:
        """Tell whether what is written is not what is read yet."""
        return self._writing is None or self._writing.path != self.slot.current

    async def settle(self, head: Head) -> ViewPosition:
        """Open the file that goes on from here towards `head`; tell where its rows stand.

        It is a new one beside the old where that is of another schema, of another log, or ahead.
        """
        return await self._run(self._writer, lambda: self._settle(head))

    async def take_in(self) -> None:
        """Have the snapshot that came into the slot looked at by the next `settle`."""
        await self._run(self._writer, self._take_in)

    async def apply(self, batch: EventBatch, start: int = 0, *, budget: float) -> ApplyStep:
        """Turn the events of `batch` from `start` on into rows, in order, for `budget` seconds.

        Raises BusLost when the batch cannot be read.
        """
        return await self._run(self._writer, lambda: self._apply(batch, start, budget))

    async def swap_in(self) -> None:
        """Let readers have the new file. Nothing is being written meanwhile."""
        # on the reading thread: nobody opens the old file again while it makes way
        await self._run(self._reader, self._swap_in)

    async def read(self, work: Callable[[Any], R]) -> R:
        """Call `work` with the view on the reading thread; it sees one state of the rows.

        Raises Unavailable while there is no file for it yet.
        """
        return await self._run(self._reader, lambda: self._read(work))

    async def copy(self, stop: threading.Event) -> SnapshotCopy:
        """Copy what is read to the slot's `outgoing`, beside reading and writing. Raises `Stopped`."""
        return await asyncio.to_thread(self._copy, stop)

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    @property
    def _schema_hash(self) -> str:
        return self._view.schema_hash()

    # On the writing thread.

    def _settle(self, head: Head) -> ViewPosition:
        if self._writing is not None:
            position = self._position()
            if position.fits(head):
                return position
            self._close_writing()
        path = self.slot.choose(self._schema_hash, head)
        self._open(path)
        if position_of(path, self._schema_hash) is None:
            self._create(head.log)
        return self._position()

    def _take_in(self) -> None:
        self._close_writing()
        self.slot.take_in()

    def _open(self, path: Path) -> None:
        # autocommit: transactions are written out where they begin and end
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        # the log has everything: a view that a power cut took back catches up again
        db.execute("PRAGMA synchronous=NORMAL")
        # pages of 4 KiB between two waits for the disk, which are what catching up waits for
        db.execute("PRAGMA wal_autocheckpoint=4000")
        self._writing = _OpenView(path, db, self._view(db))

    def _create(self, log_id: str) -> None:
        db = self._written.db
        db.executescript(POSITION + self._view.schema)
        db.execute("INSERT INTO view_position VALUES (?, ?, 0)", (self._schema_hash, log_id))

    def _position(self) -> ViewPosition:
        position = read_position(self._written.db, self._schema_hash)
        assert position is not None, "settle has opened a file of this schema"
        return position

    @property
    def _written(self) -> _OpenView:
        assert self._writing is not None, "settle comes first"
        return self._writing

    def _close_writing(self) -> None:
        if self._writing is not None:
            self._writing.db.close()
            self._writing = None

    def _apply(self, batch: EventBatch, start: int, budget: float) -> ApplyStep:
        _, db, view = self._written
        events, place, applied = batch.events, start, []
        ends = perf_counter() + budget
        with _transaction(db):
            while place < len(events) and (place == start or perf_counter() < ends):
                event = self._apply_one(db, view, events[place])
                if event is not None:
                    applied.append(event)
                place += 1
            through = batch.through if place == len(events) else events[place - 1].sequence
            db.execute("UPDATE view_position SET applied = ?", (through,))
        return ApplyStep(applied, through, place)

    def _apply_one(self, db: sqlite3.Connection, view: View, recorded: Recorded) -> Applied | None:
        try:
            event = view.apply(db, recorded)
        except ValidationError as error:
            self._skip(recorded, str(error))
            return None
        if event is None:
            self._skip(recorded, "this view does not know the type in this version")
            return None
        return Applied(recorded.sequence, event)

    def _skip(self, recorded: Recorded, why: str) -> None:
        """Pass over what cannot be read here. The log keeps it, for those who can; said once."""
        kind = (recorded.type, recorded.dataversion)
        if kind not in self._skipped:
            self._skipped.add(kind)
            version = recorded.dataversion or 1
            log.warning("event.skipped", type=recorded.type, version=version, id=recorded.id, why=why)

    # On the reading thread.

    def _read(self, work: Callable[[Any], R]) -> R:
        if self._reading is None:
            self._reading = self._open_reading()
        with _transaction(self._reading.db):
            return work(self._reading.view)

    def _open_reading(self) -> _OpenView:
        """Open what there is to read, which has to be of this schema, whatever its log."""
        path = self.slot.current
        if position_of(path, self._schema_hash) is None:
            raise Unavailable("The view is still being built.", headers={"Retry-After": "1"})
        uri = f"{path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        return _OpenView(path, db, self._view(db))

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading.db.close()
            self._reading = None

    def _swap_in(self) -> None:
        self._close_reading()
        self._close_writing()
        with self._copying:
            self.slot.swap(self._schema_hash)
        self._open(self.slot.current)

    # On a thread of its own.

    def _copy(self, stop: threading.Event) -> SnapshotCopy:
        with self._copying:
            return copy(self.slot.current, self.slot.outgoing, self._schema_hash, stop)

    def __repr__(self) -> str:
        """Show the files."""
        return f"<ViewStore of {self._view.__name__} in {self.slot}>"


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite may have taken it back already, on a full disk for instance
            db.execute("ROLLBACK")
        raise
