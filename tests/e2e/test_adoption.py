"""`blog up` is killed: readers notice nothing, the next one adopts what runs, `blog down` ends it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from blog.master.runtimes.processes import LOCK_OPTION
from tests.e2e.conftest import Blog, running_in, wait_until
from tests.e2e.test_kill import SERVICES, Traffic, a_post

REPLICAS = SERVICES | {"comments": 2, "web": 1}
UP = ("--scale", "comments=2")


def ids(blog: Blog) -> set[str]:
    """Return who is ready, by instance id."""
    return {row["id"] for row in blog.table() if row["state"] == "ready"}


def processes(blog: Blog) -> set[int]:
    """Return the process of each instance."""
    return {blog.pid(row) for row in blog.table()}


def is_adopted(blog: Blog) -> bool:
    """Return whether the last `blog up` has taken over what ran."""
    _, adopted, then = blog.said().rpartition("blog.adopted")
    return bool(adopted) and "ready after" in then


def failing(blog: Blog, *words: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it said, once it has ended."""
    command = [sys.executable, "-m", "blog", *words]
    done = subprocess.run(
        command,
        env=blog.environ,
        cwd=blog.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@contextmanager
def killed(up: Callable[..., Blog]) -> Iterator[Blog]:
    """Run a blog and kill its master; what is left is ended, however the test ends."""
    blog = up(*UP)
    blog.wait_until_ready(**REPLICAS)
    blog.kill()
    try:
        yield blog
    finally:
        blog.stop()
        failing(blog, "down")


def test_a_killed_master_leaves_a_blog_that_serves_and_the_next_one_adopts_it(
    up: Callable[..., Blog],
) -> None:
    """No failed request meanwhile; the same instances, none twice; scaling and an orderly end work."""
    blog = up(*UP)
    blog.wait_until_ready(**REPLICAS)
    path, seen_it = a_post(blog)
    before, pids = ids(blog), processes(blog)
    traffic = Traffic(lambda session: session.get(blog.url + path, headers=seen_it, timeout=10))
    with traffic.flowing():
        wait_until(lambda: traffic.more_than(100))
        blog.kill()
        seen = len(traffic.answers)
        wait_until(lambda: traffic.more_than(seen + 200))
        assert ids(blog) == before
        blog.start(*UP)
        wait_until(lambda: is_adopted(blog), 30)
        seen = len(traffic.answers)
        wait_until(lambda: traffic.more_than(seen + 200))
        assert ids(blog) == before
        assert processes(blog) == pids
        rows = json.loads(blog.cli("ps", "--json"))
        assert {row["id"] for row in rows} == before
        assert {row["name"] for row in rows} >= {"comments-1", "comments-2", "gateway-1", "bus-1"}
        blog.cli("scale", "comments=3")
        wait_until(lambda: len(blog.ready("comments")) == 3, 30)
        blog.cli("scale", "comments=1")
        wait_until(lambda: len(blog.table("comments")) == 1, 30)
        # the newest go first, however their master came to them
        assert ids(blog) < before
        requests.post(blog.url + path, json={"content": "x"}, timeout=10).raise_for_status()
    assert traffic.statuses().keys() == {200}
    assert not traffic.errors
    assert blog.stop() == 0
    assert not running_in(blog.folder)


def test_an_adopted_replica_that_is_killed_comes_back(up: Callable[..., Blog]) -> None:
    """It is watched like one of the master's own."""
    with killed(up) as blog:
        blog.start(*UP)
        wait_until(lambda: is_adopted(blog), 30)
        victim = blog.ready("query")[0]
        os.kill(blog.pid(victim), signal.SIGKILL)
        wait_until(lambda: [row for row in blog.ready("query") if row["id"] != victim["id"]], 30)
        wait_until(lambda: restarts(blog, "query") == [1])
        assert blog.stop() == 0
        assert not running_in(blog.folder)


def restarts(blog: Blog, service: str) -> list[int]:
    """Return how often each replica of a service was started again."""
    return [row["restarts"] for row in json.loads(blog.cli("ps", "--json")) if row["service"] == service]


def test_what_died_meanwhile_is_started_again(up: Callable[..., Blog]) -> None:
    """The gateway too: at its ports, where the others look for it."""
    with killed(up) as blog:
        dead = [blog.ready(service)[0] for service in ("posts", "gateway")]
        rest = ids(blog) - {row["id"] for row in dead}
        for row in dead:
            os.kill(blog.pid(row), signal.SIGKILL)
        blog.start(*UP)
        blog.wait_until_ready(**REPLICAS)
        assert rest < ids(blog)
        assert not {row["id"] for row in dead} & ids(blog)
        a_post(blog)
        assert blog.stop() == 0
        assert not running_in(blog.folder)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_killed_while_it_starts_nothing_is_doubled(up: Callable[..., Blog], count: int) -> None:
    """At any moment: what had just been forked is found by the next one, or was never there."""
    blog = up()
    locks = blog.folder / "data" / "run" / "copies"
    wait_until(lambda: len(list(locks.glob("*.lock"))) >= count, 30)
    blog.kill()
    try:
        blog.start()
        blog.wait_until_ready(**REPLICAS | {"comments": 1})
        running = [words.split() for words in running_in(blog.folder) if LOCK_OPTION in words]
        assert sorted(words[3] for words in running) == sorted(REPLICAS)
        assert blog.stop() == 0
        assert not running_in(blog.folder)
    finally:
        blog.stop()
        failing(blog, "down")


def test_down_ends_what_a_killed_master_left(up: Callable[..., Blog]) -> None:
    """It says what that was; once more there is nothing to end. Nobody else's command reaches it."""
    with killed(up) as blog:
        code, said = failing(blog, "ps")
        assert code == 2
        assert "was killed" in said
        assert requests.get(f"{blog.url}/posts", timeout=10).status_code == 200
        printed = blog.cli("down")
        for name in ("comments-1", "comments-2", "gateway-1"):
            assert name in printed
        assert not running_in(blog.folder)
        code, said = failing(blog, "down")
        assert code == 2
        assert "No blog runs" in said
        logs = blog.folder / "data" / "logs"
        assert '"instance.left"' in (logs / "comments-2.log").read_text()


def test_another_blog_does_not_begin_in_its_place(up: Callable[..., Blog]) -> None:
    """With another runtime or another port it is one clear line, and what runs goes on."""
    with killed(up) as blog:
        before = ids(blog)
        code, said = failing(blog, "up", "--runtime", "docker")
        assert code == 2
        assert "--runtime process" in said.strip()
        port = blog.environ["BLOG_PUBLIC_PORT"]
        blog.environ["BLOG_PUBLIC_PORT"] = "1"
        code, said = failing(blog, "up")
        blog.environ["BLOG_PUBLIC_PORT"] = port
        assert code == 2
        assert f"has {port}" in said
        assert ids(blog) == before


def test_two_at_once_are_one(up: Callable[..., Blog]) -> None:
    """Of two that find the same leftovers one takes over, the other says that a blog runs here."""
    with killed(up) as blog:
        before = ids(blog)
        both = []
        for _ in range(2):
            blog.start(*UP)
            both.append(blog.process)
        wait_until(lambda: any(one.poll() is not None for one in both), 30)
        [blog.process] = [one for one in both if one.poll() is None]
        assert "already runs here" in blog.said()
        wait_until(lambda: is_adopted(blog), 30)
        assert ids(blog) == before


def test_closing_the_terminal_ends_it_in_order(up: Callable[..., Blog]) -> None:
    """As Ctrl-C does; under nohup, whose children inherit that the signal is ignored, it would not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        blog = up()
    finally:
        signal.signal(signal.SIGHUP, before)
    blog.wait_until_ready(**SERVICES)
    assert blog.stop(signal.SIGHUP) == 0
    assert not running_in(blog.folder)


def test_in_the_background_too(up: Callable[..., Blog]) -> None:
    """`up -d` after a kill -9 returns once the adopted ones answer."""
    with killed(up) as blog:
        before = ids(blog)
        printed = blog.cli("up", "-d", *UP)
        assert "blog.adopted" in printed
        assert ids(blog) == before
        blog.cli("down")
        assert not running_in(blog.folder)
