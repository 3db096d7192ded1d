"""Writer: the one thread that changes the log. Group commit: it commits all that queued up meanwhile.

A job is done once it is committed, that is after fsync. A transaction is all or nothing.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from blog.bus.log.jobs import (
    AppendJob,
    DiscardJob,
    Job,
    PauseJob,
    RedriveJob,
    ReplayJob,
    SettleJob,
    SubscribeJob,
)
from blog.bus.log.schema import LogEntry, SettledState, chain_hash, encode_row
from blog.core.errors import BlogError, NotFound, StorageFull, TooMany, Unavailable
from blog.core.events import Envelope
from blog.core.histogram import Histogram
from blog.core.logs import get_logger
from blog.eventlog.wire import Appended

MAX_QUEUED = 10_000
"""Jobs that may wait; more is 429."""
MAX_COMMIT = 512
"""Jobs in one transaction."""

COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the histogram of commit times, in seconds."""

log = get_logger()

_Queued = tuple[Job, asyncio.Future[list[Appended]]]


class LogWriter:
    """Owns the writing connection. `committed` is called in the loop with what was appended."""

    def __init__(self, path: Path, committed: Callable[[Sequence[LogEntry]], None]) -> None:
        self._path = path
        self.commit_seconds = Histogram(COMMIT_BOUNDS)
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._db: sqlite3.Connection
        self._head = 0
        self._hash = b""
        self._needs_rollback = False
        """Whether a transaction failed, and its rollback failed too."""
        self._appended: list[LogEntry] = []
        """What the open transaction appends."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Execute what is queued and close the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def execute(self, job: Job) -> list[Appended]:
        """Return the outcome of `job` once it is on disk.

        Raises Conflict, TooMany, StorageFull, or Unavailable when the disk fails.
        """
        return await self.submit(job)

    def submit(self, job: Job) -> "asyncio.Future[list[Appended]]":
        """Begin to execute `job`; the future is done as `execute` is. Raises TooMany at once."""
        if self._queue.qsize() >= MAX_QUEUED:
            raise TooMany("The append queue is full.", headers={"Retry-After": "1"})
        future: asyncio.Future[list[Appended]] = self._loop.create_future()
        self._queue.put((job, future))
        return future

    # On the thread.

    def _run(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._read_end()
        while (jobs := self._next_jobs()) is not None:
            self._commit(jobs)
        self._db.close()

    def _read_end(self) -> None:
        """Read where the file ends."""
        row = self._db.execute("SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1")
        self._head, self._hash = row.fetchone() or (0, b"")

    def _next_jobs(self) -> list[_Queued] | None:
        """Wait for a job and take what else is queued; None when it is time to stop."""
        jobs: list[_Queued] = []
        while len(jobs) < MAX_COMMIT and (not jobs or not self._queue.empty()):
            job = self._queue.get()
            if job is None:
                if not jobs:
                    return None
                self._queue.put(None)
                break
            jobs.append(job)
        return jobs

    def _commit(self, jobs: list[_Queued]) -> None:
        outcomes: list[tuple[asyncio.Future[list[Appended]], list[Appended] | BlogError]] = []
        try:
            if self._needs_rollback:
                self._roll_back()
            self._db.execute("BEGIN IMMEDIATE")
            outcomes.extend((future, self._execute(job)) for job, future in jobs)
            began = time.perf_counter()
            self._db.execute("COMMIT")
            self.commit_seconds.observe(time.perf_counter() - began)
        except Exception as error:  # whatever it is: no job is done by a thread that has ended
            log.exception("log.write_failed", jobs=len(jobs))
            outcomes = [(future, _failure(error)) for _, future in jobs]
            with suppress(sqlite3.Error):
                self._roll_back()
        appended, self._appended = self._appended, []
        self._loop.call_soon_threadsafe(self._complete, outcomes, appended)

    def _roll_back(self) -> None:
        """Roll back what was not committed. If that fails, it comes before the next transaction."""
        self._needs_rollback = True
        self._appended = []
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._read_end()
        self._needs_rollback = False

    def _complete(
        self, outcomes: list[tuple[asyncio.Future[Any], Any]], appended: Sequence[LogEntry]
    ) -> None:
        """Complete the futures, in the loop; those that were cancelled meanwhile stay so."""
        self._committed(appended)
        for future, outcome in outcomes:
            if future.done():
                continue
            if isinstance(outcome, BlogError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _execute(self, job: Job) -> list[Appended] | BlogError:
        match job:
            case AppendJob():
                return self._append(job)
            case SettleJob():
                return self._settle(job)
            case SubscribeJob():
                self._db.execute(
                    "INSERT INTO subscriptions (name, types, watermark) VALUES (?, ?, 0)"
                    " ON CONFLICT (name) DO UPDATE SET types = excluded.types",
                    (job.name, json.dumps(sorted(job.types))),
                )
                return []
            case RedriveJob() | DiscardJob():
                return self._resolve(job)
            case PauseJob():
                self._db.execute(
                    "UPDATE subscriptions SET paused = ? WHERE name = ?",
                    (job.is_paused, job.subscription),
                )
                return []
            case ReplayJob():
                self._db.execute("DELETE FROM exceptions WHERE subscription = ?", (job.subscription,))
                self._db.execute(
                    "UPDATE subscriptions SET watermark = ? WHERE name = ?", (job.after, job.subscription)
                )
                return []

    def _append(self, job: AppendJob) -> list[Appended] | BlogError:
        if job.expected is not None and any(
            self._find(envelope.id) is None for envelope in job.envelopes
        ):
            conflict = job.expected.conflict(self._db, self._head)
            if conflict is not None:
                return conflict
        return [self._insert(envelope) for envelope in job.envelopes]

    def _insert(self, envelope: Envelope) -> Appended:
        sequence = self._head + 1
        text = encode_row(envelope, sequence)
        hash_ = chain_hash(self._hash, text)
        entry = LogEntry(sequence, envelope.id, envelope.type, envelope.subject, text)
        inserted = self._db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", (*entry, hash_)
        )
        if not inserted.rowcount:
            known = self._find(envelope.id)
            assert known is not None
            return Appended(envelope.id, known, duplicate=True)
        self._head, self._hash = sequence, hash_
        self._appended.append(entry)
        return Appended(envelope.id, sequence)

    def _settle(self, job: SettleJob) -> list[Appended]:
        """Write what the watermark does not say: up to it everything is done, but the dead and parked.

        These may be many, and stay below it for long: nothing here looks at more than is settled now.
        """
        appended = [self._insert(envelope) for envelope in job.following]
        name = job.subscription
        before = self._watermark(name)
        watermark = max(before, job.watermark)
        passed = [s for s in job.settled if s.state is SettledState.DONE and s.sequence <= watermark]
        self._db.executemany(
            "DELETE FROM exceptions WHERE subscription = ? AND sequence = ?",
            [(name, s.sequence) for s in passed],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO exceptions VALUES (?, ?, ?, ?, ?, ?)",
            [
                (name, s.sequence, s.key, s.state.value, s.attempts, s.reason)
                for s in job.settled
                if s.state is not SettledState.DONE or s.sequence > watermark
            ],
        )
        self._db.execute("UPDATE subscriptions SET watermark = ? WHERE name = ?", (watermark, name))
        self._db.execute(
            "DELETE FROM exceptions WHERE subscription = ? AND sequence > ? AND sequence <= ?"
            " AND state = 'done'",
            (name, before, watermark),
        )
        return appended

    def _resolve(self, job: RedriveJob | DiscardJob) -> list[Appended] | BlogError:
        one = (job.subscription, job.sequence)
        where = "WHERE subscription = ? AND sequence = ? AND state = 'dead'"
        if isinstance(job, RedriveJob):
            sql = f"UPDATE exceptions SET state = 'parked' {where}"  # noqa: S608 - no input in it
        elif job.sequence > self._watermark(job.subscription):
            sql = f"UPDATE exceptions SET state = 'done' {where}"  # noqa: S608 - no input in it
        else:
            sql = f"DELETE FROM exceptions {where}"  # noqa: S608 - no input in it
        if not self._db.execute(sql, one).rowcount:
            return NotFound("There is no such dead letter.")
        return []

    def _watermark(self, name: str) -> int:
        row = self._db.execute("SELECT watermark FROM subscriptions WHERE name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def _find(self, event_id: str) -> int | None:
        row = self._db.execute("SELECT sequence FROM events WHERE id = ?", (event_id,)).fetchone()
        return row[0] if row else None


def _failure(error: Exception) -> BlogError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull("The log's disk is full.", headers={"Retry-After": "10"})
    return Unavailable("The log cannot write to its disk.", headers={"Retry-After": "1"})
