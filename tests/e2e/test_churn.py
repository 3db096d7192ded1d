"""Churn under constant traffic: no reader sees an error, nothing is lost, and nothing is left over.

BLOG_CHURN_MINUTES says for how long, without it a quarter of one; BLOG_CHURN_SEED, which course.
"""

import fcntl
import os
import random
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from blog.lifecycle.local_instances import LocalInstance, running
from blog.lifecycle.run_file import run_file
from tests.e2e.churn import START, Churn, Readers, course
from tests.e2e.conftest import Blog, running_in, wait_until
from tests.e2e.soundness import problems
from tests.e2e.trouble import new_post, wait_until_settled, writing

SECONDS = 60 * float(os.environ.get("BLOG_CHURN_MINUTES", "0.25"))
CALLERS, PAUSE = 16, 0.25
MORE_DESCRIPTORS, MORE_THREADS, MORE_MEMORY = 10, 8, 64
"""By how much who lived all through may have grown; memory in MiB."""
TIMEOUT = SECONDS * 1.5 + 900


class Size(NamedTuple):
    """What a process holds; memory in MiB."""

    descriptors: int
    threads: int
    memory: float

    @staticmethod
    def of(pid: int) -> "Size":
        """Measure a process."""
        proc = Path(f"/proc/{pid}")
        lines = (proc / "status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        kib = int(status["VmRSS"].split()[0])
        return Size(len(list((proc / "fd").iterdir())), int(status["Threads"]), kib / 1024)

    def has_grown(self, before: "Size") -> bool:
        """Return whether this is more than what comes and goes."""
        return (
            self.descriptors > before.descriptors + MORE_DESCRIPTORS
            or self.threads > before.threads + MORE_THREADS
            or self.memory > before.memory + MORE_MEMORY
        )


@pytest.mark.timeout(TIMEOUT)
def test_churn_is_seen_by_nobody_and_leaves_nothing_over(up: Callable[..., Blog], tmp_path: Path) -> None:
    """Every GET is answered with 200, what was acknowledged is there once, all is as before."""
    seed = int(os.environ.get("BLOG_CHURN_SEED", random.randrange(1 << 32)))  # noqa: S311 - to be had again
    print(f"seed {seed}")
    steps = course(random.Random(seed))  # noqa: S311 - the same
    blog = up(*(word for name in START for word in ("--scale", f"{name}={START[name]}")))
    blog.wait_until_ready(**START, gateway=1, bus=1)
    readers = Readers(blog.url, warmed_up(blog))
    lived = {"master": blog.process.pid} | {s: blog.pid(blog.ready(s)[0]) for s in ("gateway", "bus")}
    processes, sizes = len(running_in(tmp_path)), {name: Size.of(pid) for name, pid in lived.items()}
    churn = Churn(blog)
    with writing(blog, tmp_path, CALLERS, PAUSE) as notes, readers.reading():
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            churn.take(next(steps))
        told = len(notes.told())
        wait_until(lambda: len(notes.told()) > told + CALLERS, 60)
        for name, count in START.items():
            churn.scale(name, count)
    wait_until_settled(blog, tmp_path / "data", START | {"bus": 1})
    print(f"{readers.answers} reads; {len(notes.told())} written; not: {notes.failed()}; {churn.done}")
    assert readers.wrong == []
    assert {why.split()[0] for why in notes.failed()} <= {"502", "503", "504"}
    wait_until(lambda: len(running_in(tmp_path)) == processes, 30)
    for name in lived.keys() - churn.killed:
        wait_until(lambda: not Size.of(lived[name]).has_grown(sizes[name]), 30, step=0.5)
        print(f"{name}: {sizes[name]}, then {Size.of(lived[name])}")
    assert blog.stop() == 0
    assert problems(tmp_path / "data", notes.told()) == []
    assert left_over(tmp_path / "data") == []


def warmed_up(blog: Blog) -> list[str]:
    """Use everything a little, from as many clients as there will be; return the paths to read."""
    post = new_post(blog, "warm")
    comments = f"{blog.url}/posts/{post}/comments"
    paths = ["/", f"/read/{post}", "/posts?limit=5", f"/posts/{post}", f"/posts/{post}/comments?limit=5"]
    with ThreadPoolExecutor(CALLERS) as pool:
        asked = [
            pool.submit(requests.post, comments, json={"content": f"warm-{n}"}, timeout=10)
            for n in range(5 * CALLERS)
        ]
        asked += [pool.submit(requests.get, blog.url + path, timeout=10) for path in paths * CALLERS]
    assert {one.result().status_code for one in asked} <= {200, 201}
    return paths


def left_over(data: Path) -> list[Path | LocalInstance]:
    """List the locks that somebody still holds, sockets that are still there, and who says it runs."""
    held = [path for path in data.rglob("*.lock") if path.is_file() and is_held(path)]
    sockets = (path for path in data.rglob("*") if path.is_socket())
    return [*held, *sockets, *running(str(data))]


def is_held(path: Path) -> bool:
    """Return whether a process has this file locked."""
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_what_is_left_over_is_found(tmp_path: Path) -> None:
    """The proof of the test above: a held lock, a socket, a run file, descriptors that nobody closes."""
    before = Size.of(os.getpid())
    assert not Size.of(os.getpid()).has_grown(before)
    (tmp_path / "free.lock").touch()
    with ExitStack() as stack:
        held = [stack.enter_context((tmp_path / "held.lock").open("w")) for _ in range(20)]
        fcntl.flock(held[0], fcntl.LOCK_EX)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(os.path.relpath(tmp_path / "control.sock"))  # an address has 108 bytes
        stack.enter_context(run_file(tmp_path, "comments-x", "127.0.0.1:1"))
        found = [tmp_path / "held.lock", tmp_path / "control.sock", *running(str(tmp_path))]
        assert len(found) == 3
        assert list(map(repr, left_over(tmp_path))) == list(map(repr, found))
        assert Size.of(os.getpid()).has_grown(before)
