"""Containers for tests: an engine, the image, and a blog of containers in a network of its own."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

from tests.e2e.conftest import wait_until

ROOT = Path(__file__).parents[2]
REQUIRED = "BLOG_REQUIRE_DOCKER"
IMAGE = "blog:test"
SERVICES = ("posts", "bus", "comments", "moderation", "query", "web")
FEWEST = ("posts", "bus", "query")
"""With these a post can be written and read."""
TOKEN = "token-of-a-blog-in-containers"


@contextmanager
def engine() -> Iterator[Any]:
    """Give the engine, with the image built from this tree.

    Without an engine skip, or fail where BLOG_REQUIRE_DOCKER asks for one.
    """
    client = connect()
    # as `docker build -t blog .` with the classic builder: buildx may be missing
    client.images.build(path=str(ROOT), tag=IMAGE, rm=True)
    yield client
    client.close()


def connect() -> Any:
    """Connect to the engine that there has to be."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except docker.errors.DockerException as error:
        say = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
        say(f"no Docker engine answers here: {error}")
    return client


class Containers:
    """README's lines: a network, and containers of the image in it; no other flag, but for the writes.

    `token` is the blog's; without one it is in protected mode. `network`: options of the network.
    """

    def __init__(self, client: Any, token: str | None, **network: Any) -> None:
        self.client = client
        self.token = token
        self.name = f"blogtest-{uuid.uuid4().hex[:8]}"
        self.network = client.networks.create(self.name, **network)
        self.made: list[Container] = []
        self.by_service: dict[str, Container] = {}
        self.volumes: list[Any] = []

    def run(self, *words: str, alias: str | None = None, **options: Any) -> Container:
        """Start `docker run -d --network … blog …`; with `alias`, a name in this network only."""
        aliases = self.client.api.create_endpoint_config(aliases=[alias] if alias else [])
        environment = {"BLOG_TOKEN": self.token} if self.token else {}
        container: Container = self.client.containers.run(
            IMAGE,
            list(words),
            detach=True,
            network=self.name,
            networking_config={self.name: aliases},
            environment=environment | options.pop("environment", {}),
            **options,
        )
        self.made.append(container)
        return container

    def volume(self) -> dict[str, dict[str, str]]:
        """Make a named volume; return how it is mounted at /data."""
        self.volumes.append(self.client.volumes.create(f"{self.name}-{len(self.volumes)}"))
        return {self.volumes[-1].name: {"bind": "/data", "mode": "rw"}}

    def remove(self, container: Container) -> None:
        """Do `docker rm -f -v`; named volumes stay."""
        container.remove(force=True, v=True)
        self.made.remove(container)

    def start_all(self, services: Sequence[str] = SERVICES, **options: Any) -> None:
        """Start the gateway and one of each of `services`; `options` are the bus's.

        Posts and query are needed: it is there once a post was written and could be read.
        """
        # the engine picks the port: another blog may have 8080
        gateway = self.run(
            "gateway",
            alias="gateway",
            ports={"8080/tcp": ("127.0.0.1", None)},
            environment={"BLOG_WRITE_RATE": "0"},
        )
        for service in services:
            self.by_service[service] = self.run(service, **(options if service == "bus" else {}))
        gateway.reload()
        published = gateway.ports["8080/tcp"] or []
        self.url = f"http://127.0.0.1:{published[0]['HostPort']}"
        pages = ("/", "/posts") if "web" in services else ("/posts",)
        wait_until(lambda: all(self.answers(path) for path in pages), 60)
        wait_until(lambda: self.post_once() is not None, 60)

    def answers(self, path: str) -> bool:
        """Return whether the gateway answers with 200."""
        try:
            return requests.get(self.url + path, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def post_once(self) -> str | None:
        """Write a post; return its id, None if nobody could."""
        answer = requests.post(f"{self.url}/posts", json={"title": "Hello"}, timeout=10)
        return str(answer.json()["id"]) if answer.status_code == 201 else None

    def comment(self, post: str) -> str:
        """Write a comment; return who took it. Fails where it was not taken."""
        answer = requests.post(f"{self.url}/posts/{post}/comments", json={"content": "x"}, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.headers["Blog-Served-By"]

    def statuses(self, post: str) -> list[str]:
        """List what became of the post's comments."""
        comments = requests.get(f"{self.url}/posts/{post}", timeout=10).json()["comments"]
        return [comment["status"] for comment in comments]

    def close(self) -> None:
        """Remove everything that was made."""
        for container in self.made:
            container.remove(force=True, v=True)
        for volume in self.volumes:
            volume.remove(force=True)
        self.network.remove()


@contextmanager
def containers(client: Any, token: str | None = None, **network: Any) -> Iterator[Containers]:
    """Give a network for containers, with options of its own; nothing of it is left behind."""
    made = Containers(client, token, **network)
    try:
        yield made
    finally:
        made.close()
