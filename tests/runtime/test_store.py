"""A view's file: rows and position in one transaction, one process per file, slots reused."""

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blog.core.events import Envelope, Event
from blog.core.view import View, applies
from blog.runtime.store import Position, Store


class Sown(Event, key="seed"):
    """A seed was sown."""

    seed: str


class Bed(View):
    """Seeds."""

    schema = "CREATE TABLE seeds (name TEXT PRIMARY KEY) STRICT; CREATE INDEX by_name ON seeds (name);"

    @applies(Sown)
    def sow(self, db: sqlite3.Connection, event: Sown) -> None:
        """Keep the seed."""
        db.execute("INSERT INTO seeds VALUES (?)", (event.seed,))

    def names(self) -> list[str]:
        """List the seeds."""
        return [name for (name,) in self.db.execute("SELECT name FROM seeds ORDER BY name")]


class Wider(Bed):
    """The same with another schema."""

    schema = Bed.schema + "CREATE TABLE more (x TEXT) STRICT;"


def sown(sequence: int, seed: str, type_: str = Sown.type) -> Envelope:
    """Give an event as the log has it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = Envelope.of(Sown(seed=seed), id=f"e{sequence}", service="garden", time=now)
    return made.model_copy(update={"sequence": sequence, "type": type_})


async def test_rows_and_position_survive_closing(tmp_path: Path) -> None:
    """The next process goes on where this one was."""
    async with Store(Bed, tmp_path) as store:
        assert await store.position() is None
        await store.start_over("log-1")
        applied = await store.apply([sown(1, "a"), sown(3, "b")], 4)
        assert [item.sequence for item in applied] == [1, 3]
    async with Store(Bed, tmp_path) as store:
        assert await store.position() == Position("log-1", 4)
        assert await store.read(Bed.names) == ["a", "b"]


async def test_a_failing_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither rows nor position: the batch comes again as a whole."""
    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
        with pytest.raises(sqlite3.IntegrityError):
            await store.apply([sown(1, "a"), sown(2, "a")], 2)
        assert await store.position() == Position("log-1", 0)
        assert await store.read(Bed.names) == []


async def test_another_schema_is_built_from_the_start(tmp_path: Path) -> None:
    """Old rows do not fit new tables."""
    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
    async with Store(Wider, tmp_path) as store:
        assert await store.position() is None


async def test_two_processes_never_share_a_file_and_slots_are_reused(tmp_path: Path) -> None:
    """The second takes the next slot; a free one is taken again."""
    async with Store(Bed, tmp_path) as first, Store(Bed, tmp_path) as second:
        assert (first.path.name, second.path.name) == ("0.db", "1.db")
    async with Store(Bed, tmp_path) as third:
        assert third.path.name == "0.db"


async def test_unknown_and_unreadable_events_are_skipped(tmp_path: Path) -> None:
    """They stay in the log for those who can read them; the position moves on."""
    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
        broken = sown(2, "x").model_copy(update={"data": {}})
        assert await store.apply([sown(1, "x", "blog.Unknown"), broken], 2) == []
        assert await store.position() == Position("log-1", 2)


async def test_readers_cannot_write(tmp_path: Path) -> None:
    """Only applying events changes rows."""
    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await store.read(lambda view: view.db.execute("INSERT INTO seeds VALUES ('x')"))


async def test_a_view_reads_its_place_as_of_the_rows_it_reads(tmp_path: Path) -> None:
    """What a command decides by and up to where it knows: one moment, whatever is applied meanwhile."""
    started, go = threading.Event(), threading.Event()

    def look(view: Bed) -> tuple[list[str], int]:
        names = view.names()
        started.set()
        assert go.wait(10)
        return names, view.applied

    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
        await store.apply([sown(1, "a")], 1)
        reading = asyncio.ensure_future(store.read(look))
        assert await asyncio.to_thread(started.wait, 10)
        await store.apply([sown(2, "b")], 2)
        go.set()
        assert await reading == (["a"], 1)
        assert await store.read(look) == (["a", "b"], 2)


async def test_starting_over_empties_the_rows(tmp_path: Path) -> None:
    """Another log, another story."""
    async with Store(Bed, tmp_path) as store:
        await store.start_over("log-1")
        await store.apply([sown(1, "a")], 1)
        assert await store.read(Bed.names) == ["a"]
        await store.start_over("log-2")
        assert await store.position() == Position("log-2", 0)
        assert await store.read(Bed.names) == []
