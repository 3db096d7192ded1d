"""Trouble: what happens to a whole blog under load: kill -9, or five seconds of SIGSTOP, in any order."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.notes import Notes, running
from tests.e2e.rows import applied, log_file, opened, view_files
from tests.e2e.soundness import STEPS

REPLICAS = {"bus": 1, "comments": 2, "moderation": 2, "posts": 1, "query": 2}
"""Who gets into trouble, and how many of each run."""
CALLERS, UNANSWERED = 64, 32
STOPPED = 5.0
"""Seconds of SIGSTOP: longer than a command or a beat may take."""
SETTLED_WITHIN = 120.0


class Fault(NamedTuple):
    """What happens to one instance of a service."""

    signum: signal.Signals
    service: str


KILLS = [Fault(signal.SIGKILL, service) for service in REPLICAS]
STOPS = [Fault(signal.SIGSTOP, service) for service in REPLICAS]


def shuffled(chance: random.Random, faults: Iterable[Fault]) -> list[Fault]:
    """Return them in another order."""
    mixed = list(faults)
    chance.shuffle(mixed)
    return mixed


def strike(blog: Blog, fault: Fault, chance: random.Random) -> None:
    """Let it happen to one of the ready instances; return when it runs again, or is lost."""
    wait_until(lambda: len(blog.ready(fault.service)) == REPLICAS[fault.service], 60)
    victim = chance.choice(blog.ready(fault.service))
    os.kill(blog.pid(victim), fault.signum)
    if fault.signum == signal.SIGSTOP:
        time.sleep(STOPPED)  # that it lasts is the point
        os.kill(blog.pid(victim), signal.SIGCONT)
        return
    wait_until(lambda: victim["id"] not in {row["id"] for row in blog.table(fault.service)})


@contextmanager
def writing(blog: Blog, folder: Path, callers: int = CALLERS, pause: float = 0.0) -> Iterator[Notes]:
    """Have a process of its own write through the gateway while the body runs; read what it notes.

    `pause`: the seconds that a caller does nothing after each write.
    """
    posts = [new_post(blog, f"post-{n}") for n in range(10)]
    port, path = blog.url.rpartition(":")[2], folder / "notes.txt"
    command = [sys.executable, "-m", "tests.e2e.blog_writer", port, str(path), str(callers), *posts]
    notes = Notes(path)
    with running(command, folder, WRITER_PAUSE=str(pause)):
        wait_until(lambda: len(notes.told()) > callers)
        yield notes


def new_post(blog: Blog, title: str) -> str:
    """Write a post; return its id. The gateway may hear a moment later than others who is ready."""

    def answer() -> str | None:
        said = requests.post(f"{blog.url}/posts", json={"title": title}, timeout=10)
        return said.json()["id"] if said.status_code == 201 else None

    return str(wait_until(answer))


def wait_until_settled(blog: Blog, data: Path, counts: Mapping[str, int] = REPLICAS) -> int:
    """Wait until all are ready, no comment is pending, and every view has everything; return the head."""
    for service, count in counts.items():
        wait_until(lambda: len(blog.ready(service)) == count, 60)
    head: int = wait_until(lambda: settled_log(data), SETTLED_WITHIN, step=0.5)
    replicas = sum(len(blog.ready(service)) for service in ("comments", "query"))
    wait_until(lambda: sum(applied(file) == head for file in view_files(data)) >= replicas, 30)
    return head


def settled_log(data: Path) -> int | None:
    """Return the head of the log once every comment in it has its status; None before."""
    with closing(opened(log_file(data))) as db:
        counts = dict(db.execute("SELECT type, count(*) FROM events GROUP BY type").fetchall())
    is_settled = len({counts.get(step, 0) for step in STEPS}) == 1
    return sum(counts.values()) if is_settled else None
