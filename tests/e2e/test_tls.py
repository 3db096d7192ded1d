"""The whole blog over HTTPS, as `blog up` starts it: nothing hangs, every write is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Blog, running_in

POST = {"title": "Hello", "body": "World"}


@pytest.fixture(scope="module")
def blog(tmp_path_factory: Any, tls_files: tuple[Path, Path]) -> Iterator[Blog]:
    """One blog with a certificate; it drains and stops in time, and has logged no traceback."""
    chain, key = tls_files
    running = Blog(tmp_path_factory.mktemp("tls"), BLOG_TLS_CERT=str(chain), BLOG_TLS_KEY=str(key))
    running.url = running.url.replace("http://", "https://")
    running.wait_until_ready(gateway=1, bus=1, posts=1, comments=1, moderation=1, query=1, web=1)
    yield running
    code, said = running.stop(), running.said()
    running.output.close()
    assert (code, "Traceback" in said) == (0, False), said
    assert not running_in(running.folder)


@pytest.fixture
def client(tls_files: tuple[Path, Path]) -> Iterator[requests.Session]:
    """Give a client that keeps its connection, and trusts this certificate."""
    with requests.Session() as session:
        session.trust_env = False  # what the environment trusts would come first
        session.verify = str(tls_files[0])
        yield session


def test_two_hundred_requests_of_one_connection_are_answered(blog: Blog, client: Any) -> None:
    """Pages and lists, one after the other."""
    for n in range(200):
        answer = client.get(f"{blog.url}{'/' if n % 2 else '/posts'}", timeout=10)
        assert answer.status_code == 200, n


def test_two_hundred_connections_are_answered(blog: Blog, tls_files: tuple[Path, Path]) -> None:
    """One request each."""
    for n in range(200):
        assert requests.get(f"{blog.url}/", timeout=10, verify=str(tls_files[0])).status_code == 200, n


def test_writes_are_answered(blog: Blog, client: Any) -> None:
    """Each with 201, and what was written is read; a body over the limit is told why."""
    for n in range(50):
        written = client.post(f"{blog.url}/posts", json=POST, timeout=10)
        assert written.status_code == 201, n
        after = {"Blog-After": written.headers["Blog-Sequence"]}
        read = client.get(f"{blog.url}/posts/{written.json()['id']}", headers=after, timeout=10)
        assert read.json()["title"] == "Hello"
    large = client.post(f"{blog.url}/posts", data=b"x" * (4 << 20), timeout=10)
    assert (large.status_code, large.headers["Content-Type"]) == (413, "application/problem+json")


def test_what_happens_is_told_live(blog: Blog, client: Any, tls_files: tuple[Path, Path]) -> None:
    """An event stream comes through while others write."""
    with client.get(f"{blog.url}/live", stream=True, timeout=10) as live:
        assert live.status_code == 200
        lines = live.iter_lines()
        assert requests.post(f"{blog.url}/posts", json=POST, timeout=10, verify=str(tls_files[0])).ok
        assert any(line == b"event: post" for line in lines)
