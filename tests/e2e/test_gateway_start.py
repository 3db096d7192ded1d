"""A gateway that starts, or starts again: what exists is never said not to exist."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

import requests

from tests.e2e.conftest import Blog, wait_until

SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "comments": 1, "moderation": 1, "query": 1, "web": 1}
ASKED = {
    "posts": ("POST", "/posts"),
    "comments": ("POST", "/posts/nobody/comments"),
    "query": ("GET", "/feed.atom"),
    "web": ("GET", "/"),
    "method": ("PUT", "/posts/nobody"),
}
"""A request of each service; what its answer is, it is neither of the gateway's 404 and 405."""


class Watch:
    """Asks without a pause from the moment on in which the port takes connections."""

    def __init__(self, blog: Blog) -> None:
        self.seen: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self._blog = blog
        self._stop = threading.Event()

    def _ask(self, name: str, session: requests.Session) -> None:
        method, path = ASKED[name]
        answer = session.request(method, self._blog.url + path, json={}, timeout=10)
        self.seen[name, answer.status_code] += 1
        # a service says so with its name; the gateway has nobody to name
        if answer.status_code in (404, 405) and "Blog-Served-By" not in answer.headers:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
        if answer.status_code == 503 and "Retry-After" not in answer.headers:
            self.wrong.append(f"{method} {path}: 503 without Retry-After")

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                for name in ASKED:
                    try:
                        self._ask(name, session)
                    except requests.ConnectionError:
                        continue

    def during(self, until: Callable[[], object]) -> None:
        """Ask until `until` returns."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            until()
        finally:
            self._stop.set()
            thread.join()


def gateway_pid(blog: Blog) -> int:
    """Return the process of the gateway."""
    [row] = blog.ready("gateway")
    return blog.pid(row)


def answers_everywhere(blog: Blog) -> bool:
    """Return whether every service answers through the gateway."""
    try:
        return all(
            requests.request(*(method, blog.url + path), json={}, timeout=10).status_code
            not in (502, 503)
            for method, path in ASKED.values()
        )
    except requests.ConnectionError:
        return False


def test_a_new_blog_says_503_until_it_knows_everybody(up: Callable[..., Blog]) -> None:
    """From the first connection that is taken to the last service that is ready; never 404 or 405."""
    blog = up()
    watch = Watch(blog)
    watch.during(lambda: blog.wait_until_ready(**SERVICES))
    assert not watch.wrong
    assert answers_everywhere(blog)


def test_a_gateway_that_was_killed_says_503_until_everybody_is_back(up: Callable[..., Blog]) -> None:
    """Twice in a row, the second time as soon as it takes connections."""
    blog = up()
    blog.wait_until_ready(**SERVICES)
    watch = Watch(blog)

    def kill_it_twice() -> None:
        for _ in range(2):
            before = gateway_pid(blog)
            os.kill(before, signal.SIGKILL)

            def is_another(before: int = before) -> bool:
                try:
                    return gateway_pid(blog) != before
                except (requests.RequestException, ValueError, OSError):
                    return False

            wait_until(is_another, 60)
        wait_until(lambda: answers_everywhere(blog), 60)

    watch.during(kill_it_twice)
    assert not watch.wrong
    assert watch.seen["web", 200]
