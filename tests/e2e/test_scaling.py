"""Scaling as its users have it: by hand, by the clock, by load, and a rollout; nobody sees an error."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import requests

from tests.e2e.conftest import Blog, json_lines, services_beside, wait_until

SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "comments": 1, "moderation": 1, "query": 1, "web": 1}
BROKEN = "[services.comments]\nreplicas = 'two'\n"


def run(blog: Blog, *words: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail."""
    return subprocess.run(
        [sys.executable, "-m", "blog", *words],
        env=blog.environ,
        cwd=blog.folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def services(blog: Blog) -> dict[str, dict[str, Any]]:
    """Return a row of `blog ps` per service."""
    return {row["service"]: row for row in json.loads(blog.cli("ps", "--json"))}


class Flow:
    """Readers and writers of one post's comments, in threads; keeps what was answered."""

    def __init__(self, blog: Blog) -> None:
        made = requests.post(f"{blog.url}/posts", json={"title": "Busy"}, timeout=10)
        self.url = f"{blog.url}/posts/{made.json()['id']}/comments"
        self.statuses: Counter[int] = Counter()
        self.errors: list[str] = []
        self.written: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(3)]
        self._threads += [threading.Thread(target=self._write, args=(n,)) for n in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, count: int = 100) -> None:
        """Wait until so many more were answered."""
        seen = self.statuses.total()
        wait_until(lambda: self.errors or self.statuses.total() > seen + count, 30)

    def _read(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                self._note(lambda: session.get(self.url, params={"limit": "5"}, timeout=20))

    def _write(self, number: int) -> None:
        with requests.Session() as session:
            count = 0
            while not self._stop.wait(0.01):
                count += 1
                key = {"Idempotency-Key": f"{number}-{count}"}
                body = {"content": f"{number} says {count}"}
                answer = self._note(lambda: session.post(self.url, json=body, headers=key, timeout=20))
                if answer is not None and answer.status_code == 201:
                    self.written.append(answer.json()["id"])

    def _note(self, ask: Callable[[], requests.Response]) -> requests.Response | None:
        try:
            answer = ask()
        except requests.RequestException as error:
            self.errors.append(repr(error))
            return None
        self.statuses[answer.status_code] += 1
        return answer


def moderated(blog: Blog) -> Counter[str]:
    """Count the verdicts in the log per comment."""
    events = json_lines(blog.cli("events", "--type", "blog.CommentModerated"))
    return Counter(event["data"]["id"] for event in events)


def all_are_moderated(blog: Blog, written: list[str]) -> bool:
    """Return whether each comment has its verdict."""
    return set(written) <= set(moderated(blog))


def test_up_and_down_under_traffic_no_request_fails_and_no_event_comes_twice(
    up: Callable[..., Blog],
) -> None:
    """Whoever is to go drains first: readers and writers with keys see no error, verdicts come once."""
    blog = up()
    blog.wait_until_ready(**SERVICES)
    with Flow(blog) as flow:
        flow.goes_on()
        for count in (3, 1, 2, 1):
            done = run(
                blog, "scale", f"comments={count}", f"moderation={count}", f"query={count}", "--wait"
            )
            assert done.returncode == 0, done.stderr
            assert len(blog.ready("comments")) == len(blog.ready("moderation")) == count
            flow.goes_on()
    assert not flow.errors
    assert flow.statuses.keys() == {200, 201}
    assert len(flow.written) > 50
    wait_until(lambda: all_are_moderated(blog, flow.written), 30, 0.5)
    assert set(moderated(blog).values()) == {1}
    [row] = [row for row in json.loads(blog.cli("ps", "--json")) if row["service"] == "comments"]
    assert (row["why"], row["wanted"], row["name"]) == ("by hand", 1, "comments-1")


def test_a_rollout_replaces_everybody_under_traffic(up: Callable[..., Blog]) -> None:
    """One by one; nobody sees an error, and nobody of before is left."""
    blog = up("--scale", "comments=2", "--scale", "moderation=2")
    blog.wait_until_ready(**SERVICES | {"comments": 2, "moderation": 2})
    before = {row["id"] for row in blog.table()}
    with Flow(blog) as flow:
        flow.goes_on()
        for service in ("comments", "moderation"):
            done = run(blog, "rollout", service)
            assert done.returncode == 0, done.stderr
            ready = {row["id"] for row in blog.ready(service)}
            assert len(ready) == 2
            assert not ready & before
        flow.goes_on()
    assert not flow.errors
    assert flow.statuses.keys() == {200, 201}
    wait_until(lambda: all_are_moderated(blog, flow.written), 30, 0.5)
    assert set(moderated(blog).values()) == {1}


WALL = """
from blog.core.contract import Service
from blog.core.view import View, applies
from blog.services.posts.events import PostCreated

class Wall(View):
    schema = "CREATE TABLE posts (id TEXT PRIMARY KEY) STRICT;"

    @applies(PostCreated)
    def add(self, db, event):
        pass

service = Service("wall", view=Wall)
"""


def test_a_rollout_of_what_does_not_get_ready_leaves_the_old_ones(
    up: Callable[..., Blog], tmp_path: Path
) -> None:
    """Exit code 1 and the reason; `scale --wait` says the same, with the last lines of a crash loop."""
    blog = up("--scale", "wall=2", PYTHONPATH=services_beside(tmp_path, {"wall": WALL}))
    blog.wait_until_ready(**SERVICES | {"wall": 2})
    before = {row["id"] for row in blog.ready("wall")}
    # from now on no new replica can make its tables
    (tmp_path / "services" / "wall" / "service.py").write_text(WALL.replace("CREATE", "MISMAKE"))
    done = run(blog, "rollout", "wall")
    assert done.returncode == 1
    assert "crashes again and again" in done.stderr
    assert {row["id"] for row in blog.ready("wall")} == before
    done = run(blog, "scale", "wall=3", "--wait")
    assert done.returncode == 1
    assert "wall: 2 of 3 ready" in done.stderr
    assert "MISMAKE" in done.stderr
    shown = wait_until(lambda: (text := blog.cli("ps")) and "crash loop" in text and text)
    assert "wall-3 | " in shown
    assert run(blog, "scale", "wall=2", "--wait").returncode == 0


def test_schedule_and_load_decide_and_the_file_is_taken_up(
    up: Callable[..., Blog], tmp_path: Path
) -> None:
    """What the file says holds from the start, changes when it changes, and yields to a word by hand."""
    file = tmp_path / "blog.toml"
    file.write_text('[services.posts]\nschedule = [{at = "* * * * *", replicas = 2}]\n')
    blog = up()
    blog.wait_until_ready(**SERVICES | {"posts": 2})
    assert services(blog)["posts"]["why"] == "schedule * * * * *"
    [coming] = json.loads(blog.cli("schedule", "--json", "-n", "1"))
    assert (coming["service"], coming["replicas"], coming["held"]) == ("posts", 2, None)
    file.write_text("[services.query]\nautoscale = {min = 1, max = 3, in_flight = 0.5}\n")
    with Flow(blog) as flow:
        flow.url = f"{blog.url}/posts"
        wait_until(lambda: len(blog.ready("query")) > 1, 30)
    row = services(blog)["query"]
    assert row["why"].startswith("load: ")
    assert row["requests_s"] > 0
    assert row["p99_ms"] > 0
    assert "scale.decided" in blog.said()
    blog.wait_until_ready(posts=1)
    run(blog, "scale", "query=1", "--wait")
    assert services(blog)["query"]["why"] == "by hand"
    file.write_text(BROKEN)
    wait_until(lambda: "services.comments.replicas" in blog.cli("ps"))
    assert len(blog.ready("comments")) == 1
