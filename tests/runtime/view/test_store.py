"""A view's open files: rows and position in one transaction, a new file beside the old, readers apart."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from blog.core.errors import Unavailable
from blog.eventlog.client import BusDisconnected
from blog.eventlog.wire import Head
from blog.runtime.view.files import ViewPosition
from blog.runtime.view.store import ViewStore
from tests.runtime.builder import COUNT
from tests.runtime.garden import LOG, Bed, Picked, Tended, Wider, batch, names_in, row, rows_of, sown

EMPTY = Head(LOG, 0)
LONG = 60.0
ROOT = Path(__file__).parents[3]


async def test_rows_and_position_survive_closing(tmp_path: Path) -> None:
    """The next process goes on where this one was, built or half built."""
    async with ViewStore(Bed, tmp_path) as store:
        assert await store.open_for(EMPTY) == ViewPosition(LOG, 0)
        step = await store.apply(batch([row(1, "a"), row(3, "b")], through=4), budget=LONG)
        assert ([item.sequence for item in step.applied], step.through) == ([1, 3], 4)
    async with ViewStore(Bed, tmp_path) as store:
        assert await store.open_for(Head(LOG, 9)) == ViewPosition(LOG, 4)
        assert store.is_building
        await store.swap_in()
        assert await store.read(Bed.names) == ["a", "b"]
    async with ViewStore(Bed, tmp_path) as store:
        assert await store.open_for(Head(LOG, 9)) == ViewPosition(LOG, 4)
        assert not store.is_building


async def test_a_failing_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither rows nor position: the batch comes again as a whole."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        with pytest.raises(sqlite3.IntegrityError):
            await store.apply(batch([row(1, "a"), row(2, "a")], through=2), budget=LONG)
        assert await store.open_for(Head(LOG, 2)) == ViewPosition(LOG, 0)
        await store.swap_in()
        assert await store.read(Bed.names) == []


async def test_a_transaction_ends_when_its_time_is_up(tmp_path: Path) -> None:
    """Then position and rows stand at its last event; it always gets one further."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        page = batch(sown(1, 3), through=7)
        steps = [await store.apply(page, place, budget=0.0) for place in range(3)]
        assert [(step.next, step.through) for step in steps] == [(1, 1), (2, 2), (3, 7)]


@pytest.mark.parametrize("view", [Wider, Tended])
async def test_another_schema_is_built_beside_the_old_file(tmp_path: Path, view: type[Bed]) -> None:
    """Also where the tables are the same and a type of event is new. The old one stays until the swap."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        await store.apply(batch([row(1, "old")], through=1), budget=LONG)
        await store.swap_in()
    async with ViewStore(view, tmp_path) as store:
        assert await store.open_for(Head(LOG, 2)) == ViewPosition(LOG, 0)
        with pytest.raises(Unavailable, match="being built"):
            await store.read(view.names)
        await store.apply(batch([row(1, "old"), row(2, "new")], through=2), budget=LONG)
        assert names_in(store.files.current) == ["old"]
        await store.swap_in()
        assert await store.read(view.names) == ["new", "old"]
        assert names_in(store.files.previous) == ["old"]


@pytest.mark.parametrize("head", [Head("log-2", 9), Head(LOG, 0)])
async def test_readers_keep_the_old_rows_until_the_new_are_whole(tmp_path: Path, head: Head) -> None:
    """Another log, or one that lost what the view has: never a mix of both."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        await store.apply(batch([row(1, "a")], through=1), budget=LONG)
        await store.swap_in()
        assert await store.read(Bed.names) == ["a"]
        assert await store.open_for(head) == ViewPosition(head.log, 0)
        await store.apply(batch([row(1, "b")], through=1), budget=LONG)
        assert await store.read(Bed.names) == ["a"]
        await store.swap_in()
        assert await store.read(Bed.names) == ["b"]
        assert names_in(store.files.previous) is None


async def test_what_cannot_be_read_here_is_skipped_and_said_once(tmp_path: Path) -> None:
    """Unknown types, later versions, unreadable data: the position moves on, the log keeps them."""
    rows = [
        row(1, "x", Picked),
        row(2, "x", dataversion=2),
        row(3, "x", dataversion=2),
        row(4, None),
        row(5, None),
        row(6, "good", dataversion=1),
    ]
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        with capture_logs() as logged:
            step = await store.apply(batch(rows, through=6), budget=LONG)
        assert [item.sequence for item in step.applied] == [6]
        said = [(item["id"], item["version"]) for item in logged if item["event"] == "event.skipped"]
        assert said == [("e1", 1), ("e2", 2), ("e4", 1)]


async def test_a_page_that_is_no_json_changes_nothing(tmp_path: Path) -> None:
    """Whoever follows comes back from where it was."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        broken = batch([row(1, "a"), {"sequence": 2}], through=2)
        with pytest.raises(BusDisconnected, match="not a valid event"):
            await store.apply(broken, budget=LONG)
        assert await store.open_for(EMPTY) == ViewPosition(LOG, 0)


async def test_readers_cannot_write(tmp_path: Path) -> None:
    """Only applying events changes rows."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        await store.swap_in()
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

    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        await store.apply(batch([row(1, "a")], through=1), budget=LONG)
        await store.swap_in()
        reading = asyncio.ensure_future(store.read(look))
        assert await asyncio.to_thread(started.wait, 10)
        await store.apply(batch([row(2, "b")], through=2), budget=LONG)
        go.set()
        assert await reading == (["a"], 1)
        assert await store.read(look) == (["a", "b"], 2)


async def test_a_copy_is_of_one_moment_while_writing_goes_on(tmp_path: Path) -> None:
    """Beside writer and readers; a swap waits for it, and it for a swap."""
    async with ViewStore(Bed, tmp_path) as store:
        await store.open_for(EMPTY)
        await store.apply(batch(sown(1, 5000), through=5000), budget=LONG)
        await store.swap_in()
        async with asyncio.TaskGroup() as group:
            copying = group.create_task(store.copy(threading.Event()))
            for number in range(5001, 5051):
                await store.apply(batch([row(number, f"s{number:06}")], through=number), budget=LONG)
        made = copying.result()
        assert 5000 <= made.position.applied <= 5050
        assert len(names_in(store.files.outgoing) or ()) == made.position.applied


async def test_kill_9_while_building_loses_nothing(tmp_path: Path) -> None:
    """The old file is there until the new one is whole; each start goes on, and never behind a commit."""
    async with ViewStore(Bed, tmp_path / "killed") as store:
        await store.open_for(EMPTY)
        await store.apply(batch([row(1, "old")], through=1), budget=LONG)
        await store.swap_in()
    draw, committed = random.Random(7), 0  # noqa: S311 - no secret
    while committed < COUNT:
        began, at = _build(tmp_path / "killed", draw.randint(1, 40))
        assert began >= committed
        committed = at
        found = [names_in(tmp_path / "killed" / name) or [] for name in ("0.db", "0.previous.db")]
        assert ["old"] in found or len(found[0]) == COUNT
    _build(tmp_path / "killed", 1000)
    _build(tmp_path / "replayed", 1000)
    assert rows_of(tmp_path / "killed" / "0.db") == rows_of(tmp_path / "replayed" / "0.db")
    assert names_in(tmp_path / "killed" / "0.previous.db") == ["old"]


def _build(folder: Path, lines: int) -> tuple[int, int]:
    """Build until so many lines were said, then kill; return where it began and what it had committed."""
    command = [sys.executable, "-m", "tests.runtime.builder", str(folder)]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if len(said) == lines:
                process.kill()
                break
    numbers = [int(line) for line in said if line.isdigit()]
    return numbers[0], numbers[-1]
