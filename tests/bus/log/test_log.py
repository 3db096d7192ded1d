"""The log: acknowledged is on disk, once, in order, without gaps, in one file that one process has."""

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blog.bus.log.expected_version import ExpectedVersion
from blog.bus.log.log import EventLog
from blog.bus.log.schema import LogEntry, SettledEvent, SettledState
from blog.bus.log.writer import LogWriter
from blog.core.errors import Conflict, SettingsError, StorageFull, Unavailable
from blog.core.events import Envelope
from blog.core.files.lock import LockedError
from blog.eventlog.wire import Appended

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(id_: str, key: str = "k", type_: str = "blog.Tested", **data: str) -> Envelope:
    """Give an event."""
    return Envelope(id=id_, source="/test", type=type_, subject=key, time=NOW, data=dict(data))


async def test_appending_gives_sequences_without_gaps(tmp_path: Path) -> None:
    """1, 2, 3 …, and the rows hold them."""
    async with EventLog.open(tmp_path / "log.db") as log:
        first = await log.append([event("a"), event("b")])
        second = await log.append([event("c")])
        assert [item.sequence for item in first + second] == [1, 2, 3]
        entries, through = await log.read(0, 10)
        assert [json.loads(entry.envelope)["sequence"] for entry in entries] == [1, 2, 3]
        assert through == log.head == 3


async def test_the_same_id_is_taken_once(tmp_path: Path) -> None:
    """Also within a batch, and after a restart."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a"), event("b")])
        assert await log.append([event("b"), event("c"), event("c")]) == [
            Appended("b", 2, duplicate=True),
            Appended("c", 3),
            Appended("c", 3, duplicate=True),
        ]
    async with EventLog.open(tmp_path / "log.db") as log:
        assert await log.append([event("a")]) == [Appended("a", 1, duplicate=True)]
        assert log.head == 3


async def test_many_writers_share_commits(tmp_path: Path) -> None:
    """Whatever queues up while a commit runs is in the next one; nobody's event is lost."""
    async with EventLog.open(tmp_path / "log.db") as log:
        appended = await asyncio.gather(*(log.append([event(f"e{n}")]) for n in range(500)))
        assert sorted(item.sequence for [item] in appended) == list(range(1, 501))


async def test_an_expected_sequence_that_moved_on_is_a_conflict(tmp_path: Path) -> None:
    """Per key; a retry of what was appended is no conflict."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a", "x"), event("b", "y")])
        assert await log.append([event("c", "x")], expected=ExpectedVersion("x", 1)) == [Appended("c", 3)]
        with pytest.raises(Conflict):
            await log.append([event("d", "x")], expected=ExpectedVersion("x", 1))
        assert await log.append([event("c", "x")], expected=ExpectedVersion("x", 1)) == [
            Appended("c", 3, duplicate=True)
        ]
        assert log.head == 3


async def test_reading_by_type_and_key_says_up_to_where(tmp_path: Path) -> None:
    """A filtered reader knows what it does not have to ask for again."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a", "x", "t1"), event("b", "y", "t2"), event("c", "x", "t2")])
        assert [e.id for e in (await log.read(0, 10, ["t2"]))[0]] == ["b", "c"]
        assert [e.id for e in (await log.read(0, 10, [], "x"))[0]] == ["a", "c"]
        assert (await log.read(0, 1, ["t2"]))[1] == 2
        assert (await log.read(2, 10, ["t1"])) == ([], 3)
        found = await log.get("b")
        assert found is not None
        assert found.sequence == 2
        assert await log.get("z") is None


async def test_one_process_has_the_file(tmp_path: Path) -> None:
    """Never two logs."""
    async with EventLog.open(tmp_path / "log.db"):
        with pytest.raises(LockedError):
            async with EventLog.open(tmp_path / "log.db"):
                pass


async def test_the_identity_stays(tmp_path: Path) -> None:
    """It is made with the file, and another file has another one."""
    async with EventLog.open(tmp_path / "log.db") as log:
        identity = log.identity
    async with EventLog.open(tmp_path / "log.db") as log, EventLog.open(tmp_path / "other.db") as other:
        assert log.identity == identity != other.identity


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Better not started than misread."""
    async with EventLog.open(tmp_path / "log.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SettingsError, match="newer"):
        async with EventLog.open(tmp_path / "log.db"):
            pass


async def test_every_row_carries_a_hash_of_all_before_it(tmp_path: Path) -> None:
    """A changed or missing row can be found."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a"), event("b")])
        await log.append([event("c")])
    before = b""
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        for envelope, digest in db.execute("SELECT envelope, hash FROM events ORDER BY sequence"):
            before = hashlib.sha256(before + envelope.encode()).digest()
            assert digest == before


async def test_settling_appends_what_follows_in_the_same_transaction(tmp_path: Path) -> None:
    """And the position is there after a restart: a watermark, and what is settled above it."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a"), event("b"), event("c")])
        await log.subscribe("s", frozenset({"blog.Tested"}))
        await log.settle("s", [SettledEvent(3, "k", 1)], [event("follows")], watermark=0)
    async with EventLog.open(tmp_path / "log.db") as log:
        position = (await log.positions())["s"]
        assert (position.watermark, position.settled) == (0, frozenset({3}))
        assert log.head == 4
        await log.settle("s", [SettledEvent(1, "k", 1), SettledEvent(2, "k", 1)], [], watermark=3)
        position = (await log.positions())["s"]
        assert (position.watermark, position.settled) == (3, frozenset())


async def test_the_dead_are_remembered(tmp_path: Path) -> None:
    """With the reason, below the watermark too."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a")])
        await log.subscribe("s", frozenset({"blog.Tested"}))
        await log.settle("s", [SettledEvent(1, "k", 20, SettledState.DEAD, "why")], [], watermark=1)
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        assert db.execute("SELECT sequence, state, reason FROM exceptions").fetchall() == [
            (1, "dead", "why")
        ]


async def test_a_full_disk_refuses_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """507 before it is really full, and nothing is half written."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a")])
        log._checked_at = float("-inf")
        usage = type("Usage", (), {"free": 0, "total": 1 << 40})
        monkeypatch.setattr("blog.bus.log.log.shutil.disk_usage", lambda _: usage)
        with pytest.raises(StorageFull):
            await log.append([event("b")])
        assert [entry.id for entry in (await log.read(0, 10))[0]] == ["a"]


async def test_a_failing_transaction_is_undone_and_told(tmp_path: Path) -> None:
    """Every writer of it hears; the next transaction goes on where the last good one ended."""
    async with EventLog.open(tmp_path / "log.db") as log:
        await log.append([event("a")])
        with closing(sqlite3.connect(tmp_path / "log.db")) as db:
            db.execute(
                "CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'bad'"
                " BEGIN SELECT raise(ABORT, 'broken disk'); END"
            )
        with pytest.raises(Unavailable):
            await log.append([event("good"), event("bad")])
        assert log.head == 1
        assert await log.append([event("b")]) == [Appended("b", 2)]


async def test_what_no_file_can_hold_does_not_end_the_writer(tmp_path: Path) -> None:
    """Whatever goes wrong with a transaction, its writers hear of it, and the next one is done."""
    async with EventLog.open(tmp_path / "log.db") as log, asyncio.timeout(5):
        await log.append([event("a")])
        with pytest.raises(Unavailable):
            await log.settle(
                "s", [SettledEvent(1, "k", 20, SettledState.DEAD, "half a \ud800 pair")], [], 0
            )
        assert await log.append([event("b")]) == [Appended("b", 2)]


async def test_a_transaction_that_cannot_be_taken_back_is_so_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails twice in a row: no event of it gets into another one's transaction."""
    async with EventLog.open(tmp_path / "log.db") as log, asyncio.timeout(5):
        await log.append([event("a")])
        read_end, failures = LogWriter._read_end, iter([sqlite3.OperationalError("disk I/O error")] * 2)

        def failing(writer: LogWriter) -> None:
            for failure in failures:
                raise failure
            read_end(writer)

        monkeypatch.setattr(LogWriter, "_read_end", failing)
        bad = event("bad").model_copy(update={"subject": "half a \ud800 pair"})
        for one in (bad, event("b")):
            with pytest.raises(Unavailable):
                await log.append([event("good"), one])
        assert await log.append([event("b")]) == [Appended("b", 2)]
        assert [entry.id for entry in (await log.read(0, 10))[0]] == ["a", "b"]


WRITER = """
import asyncio, sys
from pathlib import Path
from blog.bus.log.log import EventLog
from blog.core.events import Envelope
from datetime import UTC, datetime

async def main(path):
    async with EventLog.open(Path(path)) as log:
        async def write(who):
            for n in range(100000):
                id_ = f"{who}-{n}"
                await log.append([Envelope(id=id_, source="/t", type="t", subject=str(who),
                                           time=datetime.now(UTC), data={})])
                print(id_, flush=True)
        await asyncio.gather(*(write(who) for who in range(32)))

asyncio.run(main(sys.argv[1]))
"""


async def test_kill_9_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Everything that was said to be written is there, once, in order, without gaps."""
    path = tmp_path / "log.db"
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    async with EventLog.open(path) as log:
        entries, after = list[LogEntry](), 0
        while after < log.head:
            page, after = await log.read(after, 1000)
            entries += page
        ids = [entry.id for entry in entries]
        assert [entry.sequence for entry in entries] == list(range(1, len(ids) + 1))
        assert len(ids) == len(set(ids))
        assert set(acknowledged) <= set(ids)


async def test_what_is_parked_is_not_touched_by_what_goes_on(tmp_path: Path) -> None:
    """Rows are those of the dead and parked, and of what is settled above the position; no others."""
    path = tmp_path / "log.db"

    def rows() -> list[tuple[int, str]]:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT sequence, state FROM exceptions ORDER BY sequence").fetchall()

    async with EventLog.open(path) as log:
        await log.append([event(f"e{n}") for n in range(9)])
        await log.subscribe("s", frozenset({"t"}))
        await log.settle("s", [SettledEvent(1, "k", 1, SettledState.DEAD, "why")], [], 1)
        await log.settle("s", [SettledEvent(2, "k", 0, SettledState.PARKED)], [], 2)
        await log.settle("s", [SettledEvent(5, "l", 1)], [], 2)
        assert rows() == [(1, "dead"), (2, "parked"), (5, "done")]
        await log.settle("s", [SettledEvent(3, "m", 1), SettledEvent(4, "m", 1)], [], 5)
        assert rows() == [(1, "dead"), (2, "parked")]
        [letter] = await log.dead_letters("s")
        assert (letter.reason, letter.parked, letter.entry.sequence) == ("why", 1, 1)
        assert await log.dead_letters("other") == []
        await log.redrive("s", 1)
        assert rows() == [(1, "parked"), (2, "parked")]
        await log.settle("s", [SettledEvent(1, "k", 1)], [], 4)
        await log.settle("s", [SettledEvent(2, "k", 1, SettledState.DEAD, "why")], [], 4)
        assert rows() == [(2, "dead")]
        await log.discard("s", 2)
        assert rows() == []
        assert (await log.positions())["s"].watermark == 5


VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE events (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
  key TEXT NOT NULL, envelope TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE INDEX events_by_key ON events (key, sequence);
CREATE INDEX events_by_type ON events (type, sequence);
CREATE TABLE subscriptions (name TEXT PRIMARY KEY, types TEXT NOT NULL, watermark INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE exceptions (subscription TEXT NOT NULL, sequence INTEGER NOT NULL, key TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('done', 'dead')), attempts INTEGER NOT NULL, reason TEXT,
  PRIMARY KEY (subscription, sequence)) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('identity', 'old');
INSERT INTO subscriptions VALUES ('s', '["t"]', 4);
INSERT INTO exceptions VALUES ('s', 2, 'k', 'dead', 20, 'why'), ('s', 6, 'l', 'done', 1, NULL);
PRAGMA user_version = 1;
"""


async def test_a_log_of_version_1_is_brought_up(tmp_path: Path) -> None:
    """Nothing in it is lost; the keys of its dead events park from now on."""
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    for _ in range(2):
        async with EventLog.open(path) as log:
            assert log.identity == "old"
            position = (await log.positions())["s"]
            assert (position.watermark, position.settled, position.dead) == (
                4,
                frozenset({6}),
                frozenset({"k"}),
            )
            assert (position.parked, position.is_paused) == ({}, False)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
