"""Two gateways, each with its registry, behind one address: either may be killed at any time."""

import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import AUTH, Hosts, Process, states, wait_until_ready

ROUNDS = 2 * int(os.environ.get("BLOG_CHAOS_ROUNDS", "1"))
SERVICES = ("bus", "posts", "comments", "moderation", "query")
PATIENCE = 10


class Reader(threading.Thread):
    """What a client behind one address does: asks one door, and where the connection breaks, the other.

    Once per request; what is no answer of 200 or 201 then is an error.
    """

    def __init__(self, urls: Sequence[str], stop: threading.Event, post: str) -> None:
        super().__init__()
        self.written: list[str] = []
        self.answers = 0
        self.broken = 0
        self.errors: list[str] = []
        self._urls = list(urls)
        self._stop_asking = stop
        self._post = post

    def run(self) -> None:
        """Write a comment, read the post, again and again."""
        with requests.Session() as session:
            while not self._stop_asking.is_set():
                path, key = f"/posts/{self._post}", uuid.uuid4().hex
                headers = {"Idempotency-Key": key}
                told = self._ask(
                    session, "POST", f"{path}/comments", json={"content": key}, headers=headers
                )
                self.written += [told.json()["id"]] if told is not None else []
                self._ask(session, "GET", path)

    def _ask(
        self, session: requests.Session, method: str, path: str, **options: Any
    ) -> requests.Response | None:
        for _ in self._urls:
            try:
                answer = session.request(method, self._urls[0] + path, timeout=PATIENCE, **options)
            except requests.ConnectionError:
                self.broken += 1
                self._urls.reverse()
                continue
            if answer.ok:
                self.answers += 1
                return answer
            self.errors.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        self.errors.append(f"{method} {path}: neither")
        return None


class Pair:
    """Two gateways on hosts of their own, and everything else on a third one."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.names = ("one", "two")
        addresses = [hosts.add(name) for name in self.names]
        self.urls = [f"http://{address}:8080" for address in addresses]
        self.registries = [f"http://{address}:4000" for address in addresses]
        self.gateways = [self.start(number) for number in (0, 1)]
        hosts.add("rest")
        for service in SERVICES:
            hosts.run("rest", service, BLOG_REGISTRY=",".join(self.registries))
        self.wait()

    def start(self, number: int) -> Process:
        """Start a gateway: the same two registries for everybody, one of them its own."""
        return self.hosts.run(self.names[number], "gateway", BLOG_REGISTRY=",".join(self.registries))

    def wait(self) -> None:
        """Wait until both know of both, and of everything else."""
        for registry in self.registries:
            wait_until_ready(registry, 2, "gateway")
            for service in SERVICES:
                wait_until_ready(registry, 1, service)

    def events(self, type_: str) -> list[dict[str, Any]]:
        """Read the log."""
        [bus] = requests.get(f"{self.registries[0]}/v1/services/bus", headers=AUTH, timeout=5).json()
        found, after = list[dict[str, Any]](), 0
        while True:
            answer = requests.get(
                f"http://{bus['address']}/events",
                params={"after": str(after), "limit": "1000", "type": type_},
                headers=AUTH,
                timeout=10,
            )
            if not (page := answer.json()):
                return found
            found += page
            after = int(page[-1]["sequence"])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Run both; nothing of it is left."""
    places.require()
    hosts = Hosts(tmp_path)
    try:
        hosts.add("reader")
        with hosts.inside("reader"):
            yield Pair(hosts)
    finally:
        hosts.close()


@contextmanager
def reading(pair: Pair, post: str) -> Iterator[list[Reader]]:
    """Let readers ask: half of them one door first, half the other."""
    stop = threading.Event()
    readers = [Reader(pair.urls[:: (-1) ** number], stop, post) for number in range(4)]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_either_gateway_may_be_killed(pair: Pair) -> None:
    """Nobody sees more than the connection that broke, and every event takes effect once."""
    answer = requests.post(f"{pair.urls[0]}/posts", json={"title": "Hello"}, timeout=10)
    assert answer.status_code == 201
    post = answer.json()["id"]
    with reading(pair, post) as readers:

        def go_on() -> None:
            seen = [reader.answers for reader in readers]
            wait_until(
                lambda: all(now.answers > then + 10 for now, then in zip(readers, seen, strict=True)), 30
            )

        go_on()
        for number in range(ROUNDS):
            pair.gateways[number % 2].signal(signal.SIGKILL)
            go_on()
            pair.gateways[number % 2] = pair.start(number % 2)
            pair.wait()
            go_on()
    assert [error for reader in readers for error in reader.errors] == []
    assert sum(reader.broken for reader in readers) >= ROUNDS
    written = Counter(id_ for reader in readers for id_ in reader.written)
    wait_until(lambda: len(pair.events("blog.CommentModerated")) >= written.total(), 30)
    assert set(written.values()) == {1}
    causes = Counter(str(event["data"]["id"]) for event in pair.events("blog.CommentModerated"))
    assert causes == written
    print(
        f"{ROUNDS} kills, {sum(reader.answers for reader in readers)} answers, {written.total()} comments"
    )


def test_a_gateway_that_comes_back_knows_everybody_before_it_takes_requests(pair: Pair) -> None:
    """From the other one's registry: its first answer is no error."""
    pair.gateways[0].signal(signal.SIGKILL)
    wait_until(lambda: len(states(pair.registries[1], "gateway")) == 1)
    pair.gateways[0] = pair.start(0)

    def first() -> int | None:
        try:
            return requests.get(f"{pair.urls[0]}/posts", timeout=5).status_code
        except requests.ConnectionError:
            return None

    assert wait_until(first, 20, step=0) == 200
