"""A token is replaced in a running blog, replica by replica, as docs/security.md says: nobody notices."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import free_ports, wait_until
from tests.e2e.fleet import PATIENCE, ROOT, Fleet, Replica
from tests.e2e.test_two_gateways import Reader
from tests.e2e.threads import running

OLD, NEW = "token-of-yesterday", "token-of-tomorrow"
ROUNDS = (f"{OLD},{NEW}", f"{NEW},{OLD}", NEW)
"""Everybody accepts the new one, then sends it, then forgets the old one."""


pytestmark = pytest.mark.timeout(300)


class Gateway:
    """A gateway and its registry, at ports that stay the same when it is replaced."""

    def __init__(self) -> None:
        public, admin = free_ports(2)
        self.url, self.registry = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        self.ports = {"BLOG_PUBLIC_PORT": str(public), "BLOG_ADMIN_PORT": str(admin)}

    def status(self, token: str) -> int:
        """Ask the registry for the table with a token; return the status."""
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.registry}/v1/services", headers=headers, timeout=PATIENCE).status_code

    def ready(self, token: str) -> set[str]:
        """List the processes of ready instances; none while it does not respond."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            response = requests.get(f"{self.registry}/v1/services", headers=headers, timeout=PATIENCE)
        except requests.ConnectionError:
            return set()
        rows = [row for some in response.json()["services"].values() for row in some]
        return {row["metadata"].get("pid", "") for row in rows if row["state"] == "ready"}


class Rotation:
    """Gateways, and other instances around them, each once; every one of them can be replaced."""

    def __init__(self, folder: Path, *gateways: str) -> None:
        self.fleet = Fleet(folder)
        self.gateways = {name: Gateway() for name in gateways}
        self.replicas: dict[str, Replica] = {}
        self.seen: list[Replica] = []
        self._log = folder / "log"

    def start(self, name: str, tokens: str) -> Replica:
        """Start an instance: with a port of its own if it is a gateway, with the log if it is the bus."""
        gateway = self.gateways.get(name)
        registries = ",".join(one.registry for one in self.gateways.values())
        variables = {"BLOG_TOKEN": tokens, "BLOG_REGISTRY": registries}
        variables |= gateway.ports if gateway else {}
        data = self._log if name == "bus" else None
        service = name.partition(" ")[0]
        self.replicas[name] = self.fleet.start(service, ROOT, data=data, variables=variables)
        self.seen.append(self.replicas[name])
        return self.replicas[name]

    def start_all(self, *names: str) -> None:
        """Start the gateways and others with the old token."""
        for name in (*self.gateways, *names):
            self.start(name, OLD)
        for name in (*self.gateways, *names):
            self.wait(name, OLD)

    def replace(self, name: str, tokens: str, sent: str) -> None:
        """Replace an instance; only a gateway, whose ports have one owner, ends before its successor."""
        leaving = self.replicas[name]
        if name in self.gateways:
            assert leaving.end() == 0, leaving.said()
            self.start(name, tokens)
        else:
            self.start(name, tokens)
            if name != "bus":  # a second one stands by until the log is free
                self.wait(name, sent)
            assert leaving.end() == 0, leaving.said()
        self.wait(name, sent)

    def wait(self, name: str, token: str) -> None:
        """Wait until every registry has an instance among the ready ones."""
        pid = str(self.replicas[name].popen.pid)
        wait_until(lambda: all(pid in one.ready(token) for one in self.gateways.values()), 60)

    def refused(self) -> list[str]:
        """Return what those have said who refused somebody."""
        return [replica.said() for replica in self.seen if "request.refused" in replica.said()]

    @contextmanager
    def read(self, *readers: Reader, stop: threading.Event) -> Iterator[Callable[[], None]]:
        """Let clients go on while the body runs; give what waits until each has got on a little."""

        def go_on() -> None:
            seen = [reader.answers for reader in readers]
            wait_until(
                lambda: all(now.answers > then + 4 for now, then in zip(readers, seen, strict=True)), 60
            )

        with running(stop, *(reader.run for reader in readers)):
            go_on()
            yield go_on
        assert [error for reader in readers for error in reader.errors] == []


class Writer(Reader):
    """Writes posts: that needs no more than the gateway, the bus and posts."""

    def run(self) -> None:
        """Write one after the other."""
        with requests.Session() as session:
            while not self._stop_asking.is_set():
                headers = {"Idempotency-Key": uuid.uuid4().hex}
                self._ask(session, "POST", "/posts", json={"title": "Hello"}, headers=headers)


@contextmanager
def a_rotation(folder: Path, *gateways: str) -> Iterator[Rotation]:
    """Give one; nothing of it is left."""
    rotation = Rotation(folder, *gateways)
    try:
        yield rotation
    finally:
        rotation.fleet.close()


def test_a_token_is_replaced(tmp_path: Path) -> None:
    """Three rounds, each through all instances: no write fails, nobody is refused; the old is no token.

    There is one gateway: whoever writes waits while that is replaced.
    """
    with a_rotation(tmp_path, "gateway") as rotation:
        others = ("posts", "bus")
        rotation.start_all(*others)
        gateway = rotation.gateways["gateway"]
        for tokens, known in zip(ROUNDS, (OLD, NEW, NEW), strict=True):
            rotation.replace("gateway", tokens, known)
            for name in others:
                rotation.wait(name, known)
            stop = threading.Event()
            with rotation.read(Writer([gateway.url], stop, ""), stop=stop) as go_on:
                for name in others:
                    rotation.replace(name, tokens, known)
                    go_on()
        assert rotation.refused() == []
        assert (gateway.status(NEW), gateway.status(OLD)) == (200, 401)


@pytest.mark.skipif("BLOG_CHAOS_ROUNDS" not in os.environ, reason="takes minutes: `make chaos` runs it")
def test_a_token_is_replaced_under_traffic(tmp_path: Path) -> None:
    """The same behind two gateways, with readers: nobody notices, whichever of them is replaced."""
    with a_rotation(tmp_path, "gateway one", "gateway two") as rotation:
        rotation.start_all("bus", "posts", "comments", "query")
        gateways = rotation.gateways.values()
        urls = [one.url for one in gateways]
        written = requests.post(f"{urls[0]}/posts", json={"title": "Hello"}, timeout=PATIENCE)
        post, stop = written.json()["id"], threading.Event()
        readers = [Reader(urls[:: (-1) ** number], stop, post) for number in range(2)]
        with rotation.read(*readers, stop=stop) as go_on:
            for tokens, known in zip(ROUNDS, (OLD, NEW, NEW), strict=True):
                for name in tuple(rotation.replicas):
                    rotation.replace(name, tokens, known)
                    go_on()
        assert rotation.refused() == []
        assert {one.status(NEW) for one in gateways} == {200}
        assert {one.status(OLD) for one in gateways} == {401}


def test_the_new_token_at_once_is_refused(tmp_path: Path) -> None:
    """Why there are three rounds: who sends what others do not accept yet stays outside.

    One that was started after it, and sends the old one, is inside.
    """
    with a_rotation(tmp_path, "gateway") as rotation:
        rotation.start_all()
        early = rotation.start("moderation", f"{NEW},{OLD}")
        wait_until(rotation.refused, PATIENCE)
        rotation.start("moderation", f"{OLD},{NEW}")
        rotation.wait("moderation", OLD)
        assert str(early.popen.pid) not in rotation.gateways["gateway"].ready(OLD)
        assert early.popen.poll() is None
