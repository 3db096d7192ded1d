"""The log: an append-only store in one SQLite file, with an identity and a lock. Never two logs.

Writing is the business of one thread (`writer`); reading has another, read-only connection.
"""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from blog.bus.log.expected_version import ExpectedVersion
from blog.bus.log.jobs import (
    AppendJob,
    DiscardJob,
    PauseJob,
    RedriveJob,
    ReplayJob,
    SettleJob,
    SubscribeJob,
)
from blog.bus.log.schema import (
    EXCEPTIONS,
    SCHEMA,
    UPGRADE_FROM_1,
    VERSION,
    DeadLetter,
    LogEntry,
    SettledEvent,
    SettledState,
    SubscriptionPosition,
    lock_path,
)
from blog.bus.log.tail import EventFilter, Tail, TailPage, take_page
from blog.bus.log.writer import LogWriter
from blog.core.errors import SettingsError, StorageFull
from blog.core.events import Envelope
from blog.core.files.lock import FileLock
from blog.core.histogram import Histogram
from blog.eventlog.wire import Appended

R = TypeVar("R")
_COLUMNS = "sequence, id, type, key, envelope"
_MIN_FREE_SHARE, _MIN_FREE_BYTES = 0.05, 1 << 30  # of the disk; the smaller one counts
_CHECK_EVERY = 1.0  # seconds between two checks of the disk


class EventLog:
    """An open log. Made by `EventLog.open`."""

    def __init__(self, path: Path, identity: str, head: int) -> None:
        self.path = path
        self.identity = identity
        self.head = head
        self._tail = Tail(head)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="log-read")
        self._writer = LogWriter(path, self._committed)
        self._db: sqlite3.Connection
        self._callbacks: list[Callable[[], None]] = []
        self._checked_at = float("-inf")

    @staticmethod
    @asynccontextmanager
    async def open(path: Path) -> AsyncIterator["EventLog"]:
        """Open the log at `path`, making it if there is none.

        Raises LockedError when another process has it, SettingsError for a file of a newer version,
        OSError or sqlite3.Error when it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_path(path)):
            log = EventLog(path, *await asyncio.to_thread(_prepare, path))
            log._writer.start()
            await log._read(log._connect)
            try:
                yield log
            finally:
                await log._writer.stop()
                await log._read(log._db.close)
                log._reader.shutdown(wait=False)

    @property
    def commit_seconds(self) -> Histogram:
        """How long commits took."""
        return self._writer.commit_seconds

    async def append(
        self, envelopes: Sequence[Envelope], expected: ExpectedVersion | None = None
    ) -> list[Appended]:
        """Append a batch, all or nothing; return once it is on disk.

        Raises Conflict when what is `expected` does not hold, TooMany, StorageFull, or Unavailable.
        """
        return await self.append_soon(envelopes, expected)

    def append_soon(
        self, envelopes: Sequence[Envelope], expected: ExpectedVersion | None = None
    ) -> "asyncio.Future[list[Appended]]":
        """Begin to append; the future is done as `append` is. Raises TooMany or StorageFull at once."""
        self._require_disk_space()
        return self._writer.submit(AppendJob(envelopes, expected))

    async def settle(
        self,
        subscription: str,
        settled: Sequence[SettledEvent],
        following: Sequence[Envelope],
        watermark: int,
    ) -> None:
        """Acknowledge events for `subscription` and append what follows, in one transaction."""
        await self._writer.execute(SettleJob(subscription, settled, following, watermark))

    async def subscribe(self, name: str, types: frozenset[str]) -> None:
        """Record a subscription; one that is known keeps its position."""
        await self._writer.execute(SubscribeJob(name, types))

    async def redrive(self, subscription: str, sequence: int) -> None:
        """Let a dead event be delivered again. Raises NotFound."""
        await self._writer.execute(RedriveJob(subscription, sequence))

    async def discard(self, subscription: str, sequence: int) -> None:
        """Give a dead event up for good. Raises NotFound."""
        await self._writer.execute(DiscardJob(subscription, sequence))

    async def pause(self, subscription: str, *, is_paused: bool) -> None:
        """Record whether a subscription is paused."""
        await self._writer.execute(PauseJob(subscription, is_paused))

    async def replay(self, subscription: str, after: int) -> None:
        """Forget what a subscription has done after the sequence `after`."""
        await self._writer.execute(ReplayJob(subscription, after))

    async def dead_letters(self, subscription: str | None = None) -> list[DeadLetter]:
        """Return the dead letters, oldest first: all, or those of one subscription."""
        return await self._read(lambda: self._dead_letters(subscription))

    async def get_all(self, sequences: Sequence[int]) -> list[LogEntry]:
        """Return the events at `sequences`, in order."""
        return await self._read(lambda: self._entries_at(sequences))

    async def positions(self) -> dict[str, SubscriptionPosition]:
        """Return how far each known subscription is."""
        return await self._read(self._positions)

    async def read(
        self, after: int, limit: int, types: Collection[str] = (), key: str | None = None
    ) -> TailPage:
        """Return up to `limit` events after `after` (fewer if they are large), of `types` and `key`."""
        event_filter = EventFilter(frozenset(types), key)
        page = self._tail.read(after, limit, event_filter)
        if page is None:
            head = self.head
            found, is_cut = await self._read(lambda: self._select(after, head, limit, event_filter))
            page = TailPage(found, found[-1].sequence if is_cut else max(head, after))
        return page

    async def get(self, event_id: str) -> LogEntry | None:
        """Look up an event."""
        return await self._read(lambda: self._entry("id = ?", event_id))

    def on_append(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit; returns the function that stops it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def _committed(self, entries: Sequence[LogEntry]) -> None:
        if entries:
            self._tail.append(entries)
            self.head = entries[-1].sequence
            for callback in list(self._callbacks):
                callback()

    def _require_disk_space(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < _CHECK_EVERY:
            return
        usage = shutil.disk_usage(self.path.parent)
        if usage.free < min(_MIN_FREE_SHARE * usage.total, _MIN_FREE_BYTES):
            raise StorageFull("The log's disk is nearly full.", headers={"Retry-After": "10"})
        self._checked_at = now

    # On the reading thread.

    async def _read(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    def _connect(self) -> None:
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None)

    def _select(
        self, after: int, head: int, limit: int, event_filter: EventFilter
    ) -> tuple[list[LogEntry], bool]:
        types, key = event_filter
        where, arguments = "sequence > ? AND sequence <= ?", [after, head, *types]
        if types:
            # `+` keeps SQLite from an index on types: the order of sequences is what is needed
            where += f" AND +type IN ({','.join('?' * len(types))})"
        if key is not None:
            where += " AND key = ?"
            arguments.append(key)
        sql = f"SELECT {_COLUMNS} FROM events WHERE {where} ORDER BY sequence LIMIT ?"  # noqa: S608 - values are bound
        with closing(self._db.execute(sql, (*arguments, limit))) as rows:
            return take_page(map(LogEntry._make, rows), limit)

    def _entry(self, where: str, value: Any) -> LogEntry | None:
        sql = f"SELECT {_COLUMNS} FROM events WHERE {where}"  # noqa: S608 - no input in it
        row = self._db.execute(sql, (value,)).fetchone()
        return LogEntry(*row) if row else None

    def _positions(self) -> dict[str, SubscriptionPosition]:
        subscriptions = self._db.execute("SELECT name, types, watermark, paused FROM subscriptions")
        return {
            name: self._position(
                name, SubscriptionPosition(frozenset(json.loads(types)), watermark, is_paused=paused > 0)
            )
            for name, types, watermark, paused in subscriptions.fetchall()
        }

    def _position(self, name: str, position: SubscriptionPosition) -> SubscriptionPosition:
        settled: set[int] = set()
        parked: dict[str, list[int]] = {}
        dead: set[str] = set()
        rows = self._db.execute(
            "SELECT sequence, key, state FROM exceptions WHERE subscription = ? ORDER BY sequence",
            (name,),
        )
        for sequence, key, state in rows:
            if sequence > position.watermark:
                settled.add(sequence)
            if state == SettledState.PARKED:
                parked.setdefault(key, []).append(sequence)
            elif state == SettledState.DEAD:
                dead.add(key)
        return position._replace(settled=frozenset(settled), parked=parked, dead=frozenset(dead))

    def _dead_letters(self, subscription: str | None) -> list[DeadLetter]:
        rows = self._db.execute(
            "WITH parked AS (SELECT subscription, key, count(*) AS waiting FROM exceptions"
            " WHERE state = 'parked' GROUP BY subscription, key)"
            " SELECT x.subscription, x.attempts, coalesce(x.reason, ''), coalesce(p.waiting, 0),"
            " e.sequence, e.id, e.type, e.key, e.envelope"
            " FROM exceptions AS x JOIN events AS e USING (sequence)"
            " LEFT JOIN parked AS p ON p.subscription = x.subscription AND p.key = x.key"
            " WHERE x.state = 'dead' AND coalesce(x.subscription = ?, TRUE)"
            " ORDER BY sequence, x.subscription",
            (subscription,),
        )
        return [
            DeadLetter(name, attempts, reason, parked, LogEntry(*row))
            for name, attempts, reason, parked, *row in rows
        ]

    def _entries_at(self, sequences: Sequence[int]) -> list[LogEntry]:
        marks = ",".join("?" * len(sequences))
        where = f"sequence IN ({marks}) ORDER BY sequence"
        sql = f"SELECT {_COLUMNS} FROM events WHERE {where}"  # noqa: S608 - values are bound
        return [LogEntry(*row) for row in self._db.execute(sql, tuple(sequences))]

    def __repr__(self) -> str:
        """Show which log it is and how long."""
        return f"<EventLog {self.identity} at {self.head} in {self.path}>"


def _prepare(path: Path) -> tuple[str, int]:
    """Make the tables of a new file; return the identity and the head."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        # a file of another user can be opened and read, and would refuse the first event
        db.execute("BEGIN")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("ROLLBACK")
        if version > VERSION:
            raise SettingsError(f"{path} was written by a newer version (schema {version}).")
        if version == 0:
            db.executescript(f"BEGIN; {SCHEMA} {EXCEPTIONS}")
            db.execute("INSERT INTO meta VALUES ('identity', ?)", (str(uuid4()),))
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        elif version == 1:
            db.executescript(f"BEGIN; {' '.join(UPGRADE_FROM_1)} PRAGMA user_version = {VERSION}; COMMIT")
        [identity] = db.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
        [head] = db.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        return identity, head
