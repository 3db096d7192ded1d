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
from blog.runtime.view.files import POSITION, ViewFiles, ViewPosition, position_of, read_position
from blog.runtime.view.snapshot import SnapshotCopy, copy

R = TypeVar("R")
log = get_logger()


class ApplyStep(NamedTuple):
    """What one transaction did: events, the last sequence considered, and the index of the next."""

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
        self.files = ViewFiles(folder)
        self._view = view
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="view-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="view-read")
        self._writing: _OpenView | None = None
        self._reading: _OpenView | None = None
        self._copying = threading.Lock()
        self._skipped: set[tuple[str, int | None]] = set()

    async def __aenter__(self) -> Self:
        """Nothing is open before `open_for`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what is open, then release the files."""
        for executor, close in ((self._reader, self._close_reading), (self._writer, self._close_writing)):
            await self._run(executor, close)
            executor.shutdown(wait=False)
        self.files.close()

    @property
    def is_building(self) -> bool:
        """Whether a new file is being written beside the one that is read."""
        return self._writing is None or self._writing.path != self.files.current

    async def open_for(self, head: Head) -> ViewPosition:
        """Open the file to continue with towards `head`; return its position.

        It is a new one beside the old if that is of another schema, of another log, or ahead.
        """
        return await self._run(self._writer, lambda: self._open_for(head))

    async def adopt_snapshot(self) -> None:
        """Have the incoming snapshot considered by the next `open_for`."""
        await self._run(self._writer, self._adopt_snapshot)

    async def apply(self, batch: EventBatch, start: int = 0, *, budget: float) -> ApplyStep:
        """Turn the events of `batch` from `start` on into rows, in order, for `budget` seconds.

        Raises BusDisconnected when the batch cannot be read.
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
        """Copy what is read to `files.outgoing`, beside reading and writing. Raises SnapshotStopped."""
        return await asyncio.to_thread(self._copy, stop)

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    @property
    def _schema_hash(self) -> str:
        return self._view.schema_hash()

    # On the writing thread.

    def _open_for(self, head: Head) -> ViewPosition:
        if self._writing is not None:
            position = self._position()
            if position.fits(head):
                return position
            self._close_writing()
        path = self.files.choose(self._schema_hash, head)
        self._open(path)
        if position_of(path, self._schema_hash) is None:
            self._create(head.log)
        return self._position()

    def _adopt_snapshot(self) -> None:
        self._close_writing()
        self.files.adopt_snapshot()

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
        db = self._writable.db
        db.executescript(POSITION + self._view.schema)
        db.execute("INSERT INTO view_position VALUES (?, ?, 0)", (self._schema_hash, log_id))

    def _position(self) -> ViewPosition:
        position = read_position(self._writable.db, self._schema_hash)
        assert position is not None, "open_for has opened a file of this schema"
        return position

    @property
    def _writable(self) -> _OpenView:
        assert self._writing is not None, "open_for comes first"
        return self._writing

    def _close_writing(self) -> None:
        if self._writing is not None:
            self._writing.db.close()
            self._writing = None

    def _apply(self, batch: EventBatch, start: int, budget: float) -> ApplyStep:
        _, db, view = self._writable
        events, index, applied = batch.events, start, []
        deadline = perf_counter() + budget
        with _transaction(db):
            while index < len(events) and (index == start or perf_counter() < deadline):
                event = self._apply_one(db, view, events[index])
                if event is not None:
                    applied.append(event)
                index += 1
            through = batch.through if index == len(events) else events[index - 1].sequence
            db.execute("UPDATE view_position SET applied = ?", (through,))
        return ApplyStep(applied, through, index)

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
        """Skip an event that cannot be read here; the log keeps it. Logged once per type and version."""
        kind = (recorded.type, recorded.dataversion)
        if kind not in self._skipped:
            self._skipped.add(kind)
            version = recorded.dataversion or 1
            log.warning("event.skipped", type=recorded.type, version=version, id=recorded.id, reason=why)

    # On the reading thread.

    def _read(self, work: Callable[[Any], R]) -> R:
        if self._reading is None:
            self._reading = self._open_reading()
        with _transaction(self._reading.db):
            return work(self._reading.view)

    def _open_reading(self) -> _OpenView:
        """Open what there is to read, which has to be of this schema, whatever its log."""
        path = self.files.current
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
            self.files.swap(self._schema_hash)
        self._open(self.files.current)

    # On a thread of its own.

    def _copy(self, stop: threading.Event) -> SnapshotCopy:
        with self._copying:
            return copy(self.files.current, self.files.outgoing, self._schema_hash, stop)

    def __repr__(self) -> str:
        """Show the files."""
        return f"<ViewStore of {self._view.__name__} in {self.files}>"


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
