"""Store: a view's SQLite file. One process, one file (a lock says so); slots are reused.

Writing has one thread and connection, reading a second, read-only one, so that catching up never
stalls queries. Rows and position change in one transaction.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from blog.core.contract import Applied
from blog.core.events import Envelope
from blog.core.logs import get_logger
from blog.core.view import View

R = TypeVar("R")
_POSITION = """
CREATE TABLE IF NOT EXISTS view_position (
  schema_hash TEXT NOT NULL,     -- of the tables in this file
  log TEXT NOT NULL,             -- the identity of the log it was built from
  applied INTEGER NOT NULL       -- the last sequence that is in the rows
) STRICT;
"""
log = get_logger()


class Position(NamedTuple):
    """From which log a view is built, and how far."""

    log: str
    applied: int


class Store:
    """The file behind one view. Blocking work runs on its two threads."""

    def __init__(self, view: type[View], folder: Path) -> None:
        self._view = view
        self._lock, self.path = take_slot(folder)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="view-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="view-read")
        self._writing: sqlite3.Connection
        self._reading: sqlite3.Connection
        self._reading_view: View
        self._writing_view: View
        self._unreadable: set[str] = set()

    async def __aenter__(self) -> Self:
        """Open the file."""
        await self._run(self._writer, self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close both connections, then give the slot back."""
        for executor, close in ((self._reader, self._close_reading), (self._writer, self._close_writing)):
            await self._run(executor, close)
            executor.shutdown(wait=False)
        self._lock.close()

    async def position(self) -> Position | None:
        """Tell where the rows stand; None for a file that has to be built from the start."""
        return await self._run(self._writer, self._read_position)

    async def start_over(self, log_id: str) -> None:
        """Empty the file and begin at sequence 0 of the log `log_id`."""
        await self._run(self._reader, self._close_reading)
        await self._run(self._writer, lambda: self._recreate(log_id))

    async def apply(self, events: Sequence[Envelope], through: int) -> list[Applied]:
        """Turn events into rows, in order, and note that the rows hold everything up to `through`."""
        return await self._run(self._writer, lambda: self._apply(events, through))

    async def read(self, work: Callable[[Any], R]) -> R:
        """Call `work` with the view on the reading thread; it sees one state of the rows."""
        return await self._run(self._reader, lambda: self._read(work))

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    # On the writing thread.

    def _open(self) -> None:
        # autocommit: transactions are written out where they begin and end
        self._writing = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._writing.execute("PRAGMA journal_mode=WAL")
        # the log has everything: a view that a power cut took back catches up again
        self._writing.execute("PRAGMA synchronous=NORMAL")
        self._writing.executescript(_POSITION)
        self._writing_view = self._view(self._writing)

    def _close_writing(self) -> None:
        self._writing.close()

    def _read_position(self) -> Position | None:
        row = self._writing.execute(
            "SELECT log, applied FROM view_position WHERE schema_hash = ?", (self._view.schema_hash(),)
        ).fetchone()
        return Position(*row) if row else None

    def _recreate(self, log_id: str) -> None:
        self._writing.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._open()
        self._writing.executescript(self._view.schema)
        # last: a file without it is built from the start
        self._writing.execute(
            "INSERT INTO view_position VALUES (?, ?, 0)", (self._view.schema_hash(), log_id)
        )

    def _apply(self, events: Sequence[Envelope], through: int) -> list[Applied]:
        applied = []
        with _transaction(self._writing):
            for envelope in events:
                event = self._apply_one(envelope)
                if event is not None:
                    applied.append(event)
            self._writing.execute("UPDATE view_position SET applied = ?", (through,))
        return applied

    def _apply_one(self, envelope: Envelope) -> Applied | None:
        try:
            event = self._writing_view.apply(self._writing, envelope)
        except ValidationError as error:
            if envelope.type not in self._unreadable:
                self._unreadable.add(envelope.type)
                log.warning("event.skipped", type=envelope.type, id=envelope.id, why=str(error))
            return None
        return Applied(envelope.sequence or 0, event) if event else None

    # On the reading thread.

    def _read(self, work: Callable[[Any], R]) -> R:
        if not hasattr(self, "_reading"):
            self._reading = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            self._reading_view = self._view(self._reading)
        with _transaction(self._reading):
            return work(self._reading_view)

    def _close_reading(self) -> None:
        if hasattr(self, "_reading"):
            self._reading.close()
            del self._reading

    def __repr__(self) -> str:
        """Show the file."""
        return f"<Store of {self._view.__name__} in {self.path}>"


def take_slot(folder: Path) -> tuple[IO[Any], Path]:
    """Lock the first free slot of `folder`; return the held lock and the path of the view's file."""
    folder.mkdir(parents=True, exist_ok=True)
    slot = 0
    while True:
        lock = (folder / f"{slot}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            slot += 1
        else:
            return lock, folder / f"{slot}.db"


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
