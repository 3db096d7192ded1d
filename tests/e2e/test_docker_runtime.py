"""`blog up --runtime docker`: the whole blog in containers, and what happens to it there."""

import json
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.engine import IMAGE
from tests.e2e.test_adoption import failing, ids, is_adopted, restarts
from tests.e2e.test_kill import SERVICES, Traffic, a_post, served_by

REPLICAS = SERVICES | {"web": 1}
pytestmark = pytest.mark.timeout(300)


class Contained:
    """What the engine has of a blog."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.name = f"blogtest-{uuid.uuid4().hex[:8]}"
        self.variables = {"BLOG_NAME": self.name, "BLOG_IMAGE": IMAGE}

    def containers(self) -> dict[str, Any]:
        """Return its containers by the names of their replicas."""
        label = f"blog.name={self.name}"
        found = self.client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return {one.labels["blog.copy"]: one for one in found}

    def is_gone(self) -> bool:
        """Return whether neither a container nor a network is left."""
        return not self.containers() and not self.client.networks.list(names=[self.name])

    def remove(self) -> None:
        """Remove everything, the volume too."""
        for container in self.containers().values():
            container.remove(force=True, v=True)
        for network in self.client.networks.list(names=[self.name]):
            network.remove()
        for volume in self.client.volumes.list(filters={"name": self.name}):
            volume.remove(force=True)


@pytest.fixture
def contained(client: Any) -> Iterator[Contained]:
    """Give a blog's name; once `up` has stopped it, nothing of that name is left but the log's volume."""
    contained = Contained(client)
    try:
        yield contained
        assert contained.is_gone()
    finally:
        contained.remove()


def begun(contained: Contained, up: Callable[..., Blog], *options: str, **variables: str) -> Blog:
    """Start a blog in containers and wait until all are ready."""
    blog = up("--runtime", "docker", *options, **contained.variables, **variables)
    blog.wait_until_ready(**REPLICAS)
    return blog


def settled(blog: Blog, path: str) -> bool:
    """Return whether there are comments, and all are approved."""
    comments = requests.get(blog.url + path, timeout=10).json()
    return bool(comments) and all(comment["status"] == "approved" for comment in comments)


def test_a_whole_blog_in_containers(contained: Contained, up: Callable[..., Blog]) -> None:
    """The chain works, replicas are scaled, one that is killed comes back; the log is kept."""
    blog = begun(contained, up)
    path, seen_it = a_post(blog)
    requests.post(blog.url + path, json={"content": "I like it"}, timeout=10).raise_for_status()
    wait_until(lambda: settled(blog, path))
    only_two_doors_are_published(blog, contained)
    assert "blog.CommentUpdated" in blog.cli("events")

    blog.cli("scale", "comments=5")
    wait_until(lambda: len(blog.ready("comments")) == 5, 60)
    wait_until(
        lambda: len({served_by(requests.get(blog.url + path, timeout=10)) for _ in range(10)}) == 5
    )
    assert contained.containers().keys() >= {f"comments-{number}" for number in range(1, 6)}
    rows = json.loads(blog.cli("ps", "--json"))
    assert sorted(row["name"] for row in rows) == sorted(contained.containers())

    traffic = Traffic(lambda session: session.get(blog.url + path, headers=seen_it, timeout=10))
    with traffic.flowing():
        wait_until(lambda: traffic.more_than(50))
        victim = contained.containers()["comments-2"]
        os.kill(victim.attrs["State"]["Pid"], signal.SIGKILL)
        wait_until(lambda: sorted(restarts(blog, "comments")) == [0, 0, 0, 0, 1], 30)
        wait_until(lambda: len(blog.ready("comments")) == 5, 30)
        assert contained.containers()["comments-2"].id != victim.id
        blog.cli("scale", "comments=1")
        wait_until(lambda: len(blog.table("comments")) == 1, 60)
        wait_until(lambda: "comments-2" not in contained.containers(), 30)
    assert traffic.statuses().keys() == {200}
    assert not traffic.errors
    assert "instance.left" in blog.cli("logs", "comments")

    assert blog.stop() == 0
    assert f"{contained.name}-log" in blog.said()
    assert contained.is_gone()
    again = begun(contained, up)
    assert settled(again, path)
    again.cli("down")
    assert again.process.wait(20) == 0


def only_two_doors_are_published(blog: Blog, contained: Contained) -> None:
    """Check that the gateway has both on this machine's loopback only, and nobody else has any."""
    ports = {name: one.ports for name, one in contained.containers().items()}
    published = {port: bound for port, bound in ports.pop("gateway-1").items() if bound}
    wanted = {"8080/tcp": blog.url, "4000/tcp": blog.admin}
    assert published == {
        port: [{"HostIp": "127.0.0.1", "HostPort": url.rpartition(":")[2]}]
        for port, url in wanted.items()
    }
    assert not [bound for one in ports.values() for bound in one.values() if bound]


def test_a_killed_master_leaves_them_and_the_next_one_adopts_them(
    contained: Contained, up: Callable[..., Blog]
) -> None:
    """No failed request; the same instances; lines that were logged meanwhile are there, once."""
    blog = begun(contained, up)
    path, seen_it = a_post(blog)
    before = ids(blog)
    traffic = Traffic(lambda session: session.get(blog.url + path, headers=seen_it, timeout=10))
    with traffic.flowing(2):
        wait_until(lambda: traffic.more_than(50))
        blog.kill()
        seen = len(traffic.answers)
        wait_until(lambda: traffic.more_than(seen + 100))
        blog.start("--runtime", "docker")
        wait_until(lambda: is_adopted(blog), 60)
        assert ids(blog) == before
        blog.cli("scale", "query=2")
        wait_until(lambda: len(blog.ready("query")) == 2, 60)
        assert before < ids(blog)
    assert traffic.statuses().keys() == {200}
    assert not traffic.errors
    log = blog.folder / "data" / "logs" / "comments-1.log"
    served = wait_until(lambda: requests_in(log, len(traffic.answers)))
    assert len(served) == len(set(served))
    assert blog.stop() == 0


def requests_in(log: Path, at_least: int) -> list[str] | None:
    """Return the ids of the requests in a log, once there are so many."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    served = [line["request_id"] for line in lines if line["event"] == "request.served"]
    return served if len(served) >= at_least else None


def test_down_ends_what_a_killed_master_left(contained: Contained, up: Callable[..., Blog]) -> None:
    """Also when its data directory is gone; a blog of processes does not begin beside it."""
    blog = begun(contained, up)
    blog.kill()
    code, said = failing(blog, "up")
    assert (code, "--runtime docker" in said) == (2, True)
    (blog.folder / "data").rename(blog.folder / "moved")
    code, said = failing(blog, "down")
    assert (code, "No blog runs" in said) == (2, True)
    assert len(contained.containers()) == len(REPLICAS)
    printed = blog.cli("down", "--runtime", "docker")
    assert "gateway-1" in printed
    assert f"{contained.name}-log" in printed
    assert contained.is_gone()


def test_what_is_missing_or_taken_is_one_clear_line(
    contained: Contained, up: Callable[..., Blog], tmp_path: Path
) -> None:
    """Engine, image, name, port: exit code 2, and nothing is left."""
    blog = up("--bad-option", **contained.variables)
    blog.process.wait(20)
    up_in_docker = ("up", "--runtime", "docker")

    def said_with(**variables: str) -> str:
        before, blog.environ = blog.environ, blog.environ | variables
        code, said = failing(blog, *up_in_docker)
        blog.environ = before
        assert code == 2, said
        [line] = said.strip().splitlines()
        assert contained.is_gone()
        return line

    assert "DOCKER_HOST" in said_with(DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert "BLOG_IMAGE=blog:none" in said_with(BLOG_IMAGE="blog:none")
    assert "BLOG_NAME" in said_with(BLOG_NAME="Not A Name")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "BLOG_PUBLIC_PORT" in said_with(BLOG_PUBLIC_PORT=str(taken.getsockname()[1]))
    stranger = contained.client.containers.create(IMAGE, ["posts"], name=f"{contained.name}-posts-7")
    try:
        assert f"{contained.name}-posts-7" in said_with()
        stranger.reload()
    finally:
        stranger.remove(v=True)
