"""kill -9 of the bus at random moments under load: what was acknowledged is there, once."""

import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from blog.bus.log.maintenance import verify
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.notes import Notes, Told, running

ROUNDS = 5 * int(os.environ.get("BLOG_CHAOS_ROUNDS", "4"))
CALLERS = 64
UNANSWERED = 32
TOKEN = "token-of-a-crash"
HERE = Path(__file__).parent
BUS = [sys.executable, "-m", "blog", "bus"]
HASTY = [sys.executable, str(HERE / "hasty_bus.py")]


def crash(folder: Path, command: list[str], rounds: int, seed: int) -> tuple[Told, list[int]]:
    """Kill the bus again and again; return what was acknowledged, and how much was open each time."""
    chance = random.Random(seed)  # noqa: S311 - to be had again
    port, path = str(free_port()), folder / "notes.txt"
    notes = Notes(path)
    variables = {
        "BLOG_PORT": port, "BLOG_DATA_DIR": str(folder / "data"), "BLOG_TOKEN": TOKEN,
        "BLOG_REGISTRY": "http://127.0.0.1:1",
    }  # fmt: skip
    writer = [sys.executable, str(HERE / "bus_writer.py"), port, str(path), TOKEN, str(CALLERS)]
    flying: list[int] = []
    with running(writer, folder):
        for _ in range(rounds):
            with running(command, folder, **variables) as bus:
                wait_for(notes, len(notes.told()) + CALLERS)
                time.sleep(chance.uniform(0, 0.05))  # the moment is the point
                wait_until(lambda: notes.unanswered() >= UNANSWERED, 10, step=0)
                os.kill(bus.pid, signal.SIGKILL)
                flying.append(notes.unanswered())
        with running(command, folder, **variables):
            wait_for(notes, len(notes.told()) + 2 * CALLERS)
        return notes.told(), flying


def wait_for(notes: Notes, count: int) -> None:
    """Wait until more than so many have been acknowledged."""
    wait_until(lambda: len(notes.told()) > count, 30)


def in_log(folder: Path) -> dict[str, int]:
    """Return the sequence of every event, by id."""
    with closing(sqlite3.connect(folder / "data" / "bus" / "log.db")) as database:
        return dict(database.execute("SELECT id, sequence FROM events").fetchall())


def test_what_was_acknowledged_is_there_once(tmp_path: Path) -> None:
    """Whenever the bus is killed: where it was said; sequences have no gap, hashes chain."""
    seed = random.randrange(1 << 32)  # noqa: S311 - to be had again
    print(f"seed {seed}")
    told, flying = crash(tmp_path, BUS, ROUNDS, seed)
    report = verify(tmp_path / "data" / "bus" / "log.db")
    assert report.problems == ()
    rows = in_log(tmp_path)
    assert {id_: {rows.get(id_)} for id_ in told} == told
    assert min(flying) >= UNANSWERED
    print(f"{ROUNDS} kills, {min(flying)}..{max(flying)} open; {len(told)} of {report.head} acknowledged")


def test_a_bus_that_answers_too_early_is_found_out(tmp_path: Path) -> None:
    """The proof of the test above: the same kills, and a bus that answers before its commit."""
    told, _ = crash(tmp_path, HASTY, 5, seed=1)
    assert told.keys() - in_log(tmp_path).keys()
