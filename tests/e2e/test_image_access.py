"""Who gets into a blog of containers: without a token (protected mode), and with one from a file."""

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests

from tests.e2e.conftest import wait_until
from tests.e2e.engine import IMAGE, TOKEN, Containers, containers

pytestmark = pytest.mark.timeout(300)
SECRET = "/run/secrets/token"
"""Where Swarm and compose mount it."""
ASK = """
import json, sys, urllib.error, urllib.request
method, url, *headers = sys.argv[1:]
request = urllib.request.Request(url, method=method, headers=dict(h.split("=", 1) for h in headers))
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def unprotected(client: Any) -> Iterator[Containers]:
    """Give README's lines without a token, running."""
    with containers(client) as made:
        made.start_all()
        yield made


def is_healthy(container: Any) -> bool:
    """Return whether the health check of a container passes."""
    return bool(container.exec_run(["blog-healthcheck", "--ready"]).exit_code == 0)


def status(container: Any, method: str, url: str, **headers: str) -> str:
    """Send a request from a container; return the status of the response."""
    given = [f"{name.replace('_', '-')}={value}" for name, value in headers.items()]
    done = container.exec_run(["python3", "-c", ASK, method, url, *given])
    assert done.exit_code == 0, done.output
    return str(done.output.decode().strip())


def test_without_a_token_the_network_is_a_blog(unprotected: Containers) -> None:
    """Everybody finds everybody, a reaction gets through, and one more replica its share."""
    post = unprotected.post_once()
    assert post
    unprotected.run("comments")
    wait_until(lambda: len({unprotected.comment(post) for _ in range(4)}) == 2, 30)
    wait_until(lambda: set(unprotected.statuses(post)) == {"approved"}, 30)
    gateway = unprotected.made[0]
    assert gateway.logs().count(b"admin.protected_mode") == 1


def test_without_a_token_an_operator_is_in_the_container_that_acts(unprotected: Containers) -> None:
    """`docker exec` is this machine for the instance in it, and a stranger for all others: it says so."""
    post = unprotected.post_once()
    assert post
    words = ["blog", "posts", "delete", post, "--yes"]
    refused = unprotected.by_service["web"].exec_run(words)
    assert (refused.exit_code, b"set BLOG_TOKEN" in refused.output) == (2, True), refused.output
    assert unprotected.answers(f"/posts/{post}")
    done = unprotected.by_service["posts"].exec_run(words)
    assert (done.exit_code, b"done" in done.output) == (0, True), done.output
    for command in (["dead-letters", "list"], ["events"], ["log", "verify"]):
        done = unprotected.by_service["bus"].exec_run(["blog", *command])
        assert done.exit_code == 0, done.output


def test_without_a_token_a_neighbour_reads_and_decides_nothing(unprotected: Containers) -> None:
    """As docs/security.md says: the network sees the table, and no page and no operator is let in."""
    neighbour = unprotected.run("sh", "-c", "sleep 600")
    registry = "http://gateway:4000/v1/services"
    printed: Any = unprotected.made[0].exec_run(["python3", "-c", ROW]).output
    row = printed.decode().strip()
    assert status(neighbour, "GET", registry) == "200"
    assert status(neighbour, "GET", registry, Origin="http://localhost:8080") == "403"
    assert status(neighbour, "DELETE", f"{registry}/posts/instances/{row}?force=true") == "403"
    assert status(unprotected.made[0], "GET", "http://127.0.0.1:4000/v1/services") == "200"
    assert status(neighbour, "GET", "http://gateway:4000/healthz") == "200"


ROW = """
import json, urllib.request
rows = json.load(urllib.request.urlopen("http://127.0.0.1:4000/v1/services/posts", timeout=10))
print(rows[0]["id"])
"""


def test_a_network_that_is_joined_later_is_near_too(client: Any, unprotected: Containers) -> None:
    """`docker network connect` while the gateway runs: who is there gets a response as well."""
    with containers(client) as elsewhere:
        neighbour = elsewhere.run("sh", "-c", "sleep 600")
        gateway = unprotected.made[0]
        elsewhere.network.connect(gateway, aliases=["gateway"])
        try:
            assert status(neighbour, "GET", "http://gateway:4000/v1/services") == "200"
        finally:
            elsewhere.network.disconnect(gateway)


def with_secret(blog: Containers, text: str) -> dict[str, Any]:
    """Make a volume with a token in it; return the options that mount it where secrets are."""
    volume = blog.client.volumes.create(f"{blog.name}-secret-{len(blog.volumes)}")
    blog.volumes.append(volume)
    filler = blog.client.containers.create(IMAGE, ["sh"], volumes={volume.name: {"bind": "/run/secrets"}})
    try:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo("token")
            member.size, member.mode, member.uid = len(text), 0o400, 10001
            tar.addfile(member, io.BytesIO(text.encode()))
        filler.put_archive("/run/secrets", packed.getvalue())
    finally:
        filler.remove(force=True, v=True)
    return {
        "volumes": {volume.name: {"bind": "/run/secrets", "mode": "ro"}},
        "environment": {"BLOG_TOKEN_FILE": SECRET},
    }


def test_a_token_from_a_file_is_a_token_everywhere(client: Any) -> None:
    """As Swarm mounts secrets: gateway with workers, bus, services, commands, health checks."""
    with containers(client) as blog:
        secret = with_secret(blog, TOKEN + "\n")
        workers = {"environment": secret["environment"] | {"BLOG_WORKERS": "2", "BLOG_WRITE_RATE": "0"}}
        gateway = blog.run(
            "gateway", alias="gateway", ports={"8080/tcp": ("127.0.0.1", None)}, **(secret | workers)
        )
        bus, posts, query = (blog.run(name, **secret) for name in ("bus", "posts", "query"))
        gateway.reload()
        published = gateway.ports["8080/tcp"] or []
        blog.url = f"http://127.0.0.1:{published[0]['HostPort']}"
        wait_until(lambda: blog.answers("/posts") and blog.post_once(), 60)
        post = blog.post_once()
        for container in (gateway, bus, posts, query):
            wait_until(partial(is_healthy, container), 30)
        assert status(query, "GET", "http://gateway:4000/v1/services") == "401"
        known = status(query, "GET", "http://gateway:4000/v1/services", Authorization=f"Bearer {TOKEN}")
        assert known == "200"
        for container, words in (
            (bus, "log verify"),
            (query, "events"),
            (gateway, "dead-letters list"),
            (bus, f"posts delete {post} --yes"),
        ):
            done = container.exec_run(["blog", *words.split()])
            assert done.exit_code == 0, done.output
        wait_until(lambda: requests.get(f"{blog.url}/posts/{post}", timeout=10).status_code in (404, 410))


def test_an_empty_token_file_is_one_line_and_exit_code_2(client: Any) -> None:
    """A secret that was forgotten never opens a blog."""
    with containers(client) as blog:
        refused = blog.run("posts", **with_secret(blog, "\n"))
        assert refused.wait(timeout=30)["StatusCode"] == 2, refused.logs()
        [line] = refused.logs().splitlines()
        assert line.startswith(f"blog: BLOG_TOKEN_FILE={SECRET}: ".encode())
