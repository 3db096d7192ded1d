"""The log's file without the bus: looked at, copied, put back."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blog.bus.log.log import EventLog
from blog.bus.log.maintenance import backup, restore, verify
from blog.core.errors import SettingsError
from blog.core.events import Envelope

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(name: str) -> Envelope:
    """Give an event."""
    return Envelope(id=name, source="/t", type="t", subject="k", time=NOW, data={})


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Give a log of five events."""
    made = tmp_path / "bus" / "log.db"
    async with EventLog.open(made) as log:
        await log.append([event(f"e{n}") for n in range(5)])
    return made


async def test_a_sound_log_is_sound(path: Path) -> None:
    """Also while it is open and written to."""
    async with EventLog.open(path) as log:
        assert verify(path) == (log.identity, 5, 5, ())
        await log.append([event("more")])
        assert verify(path).head == 6


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("DELETE FROM events WHERE sequence = 3", "sequence 4: 3 is missing before it"),
        (
            "UPDATE events SET envelope = replace(envelope, '{}', '[]') WHERE sequence = 3",
            "sequence 3: its hash",
        ),
        ("UPDATE events SET hash = x'00' WHERE sequence = 3", "sequence 3: its hash does not match"),
        (
            "UPDATE events SET id = 'other' WHERE sequence = 3",
            "sequence 3: its envelope does not match its row",
        ),
        ("UPDATE events SET sequence = 9 WHERE sequence = 5", "sequence 9: 5 is missing before it"),
    ],
)
async def test_what_was_harmed_is_found(path: Path, harm: str, found: str) -> None:
    """With the sequence where it begins."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(harm)
        db.commit()
    assert verify(path).problems[0].startswith(found)


async def test_a_backup_of_a_running_log_is_whole(path: Path, tmp_path: Path) -> None:
    """It is sound, ends somewhere, and has all that was acknowledged before it began."""
    async with EventLog.open(path) as log:
        writing = asyncio.create_task(write_on(log))
        await asyncio.sleep(0)
        before = log.head
        report = await asyncio.to_thread(backup, path, tmp_path / "copy.db")
        writing.cancel()
        assert report.problems == ()
        assert report.head >= before
        assert verify(tmp_path / "copy.db") == report
        assert names(tmp_path, "copy*") == ["copy.db"]
    with pytest.raises(SettingsError, match="exists already"):
        backup(path, tmp_path / "copy.db")


def names(folder: Path, pattern: str) -> list[str]:
    """List files."""
    return [file.name for file in folder.glob(pattern)]


async def write_on(log: EventLog) -> None:
    """Append until it is enough."""
    for number in range(10_000):
        await log.append([event(f"more-{number}")])


async def test_what_is_restored_is_another_log(path: Path, tmp_path: Path) -> None:
    """With the same events; what was there before is kept."""
    backup(path, tmp_path / "copy.db")
    async with EventLog.open(path) as log:
        await log.append([event("after")])
        was = log.identity
        with pytest.raises(SettingsError, match="stop it first"):
            restore(tmp_path / "copy.db", path)
    report = restore(tmp_path / "copy.db", path)
    async with EventLog.open(path) as log:
        assert (log.identity, log.head) == (report.identity, 5)
        assert log.identity != was
        await log.append([event("on")])
    assert verify(path).problems == ()
    assert verify(path.with_name("log.db.before-1")).head == 6


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    """Nothing there, or something else."""
    with pytest.raises(SettingsError, match="no log at"):
        verify(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(SettingsError, match="is not a log"):
        verify(tmp_path / "text.db")
    with pytest.raises(SettingsError, match="no log at"):
        restore(tmp_path / "none.db", tmp_path / "log.db")


async def test_a_broken_backup_is_not_restored(path: Path, tmp_path: Path) -> None:
    """The log that is there stays as it is."""
    backup(path, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        db.execute("DELETE FROM events WHERE sequence = 2")
        db.commit()
    with pytest.raises(SettingsError, match="is broken: sequence 3"):
        restore(tmp_path / "copy.db", path)
    assert verify(path).problems == ()
