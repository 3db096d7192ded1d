"""What an operator takes down is gone for all readers, and nobody at the public port can do that."""

import http.client
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Blog, running_in, wait_until

SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "comments": 2, "moderation": 1, "query": 1, "web": 1}
WORD = "zwieback"


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blog]:
    """One running blog, with two replicas of comments."""
    running = Blog(tmp_path_factory.mktemp("up"), "--scale", "comments=2")
    running.wait_until_ready(**SERVICES)
    yield running
    running.stop()
    running.output.close()
    assert not running_in(running.folder)


def operate(blog: Blog, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Type an operator command."""
    return subprocess.run(
        [sys.executable, "-m", "blog", *words],
        env=blog.environ | {"COLUMNS": "200"},
        cwd=blog.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **({"stdin": subprocess.DEVNULL} | options),
    )


def write(blog: Blog, path: str, **content: str) -> str:
    """Write, without an author's token; return the id."""
    answer = requests.post(blog.url + path, json=content, timeout=10)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def get(blog: Blog, path: str) -> requests.Response:
    """Read."""
    return requests.get(blog.url + path, timeout=10)


def pages(post: str) -> list[str]:
    """List all that readers are shown a post by."""
    return [
        "/posts",
        f"/posts/{post}",
        f"/posts/{post}/comments",
        "/feed.atom",
        f"/posts?search={WORD}",
        "/",
        f"/read/{post}",
    ]


def is_shown(blog: Blog, post: str, word: str) -> list[str]:
    """List where `word` is shown."""
    return [path for path in pages(post) if word in get(blog, path).text]


def comment_of(blog: Blog, post: str) -> Any:
    """Return the one comment of a post, as readers see it."""
    [comment] = get(blog, f"/posts/{post}").json()["comments"]
    return comment


def commented(blog: Blog, content: str, status: str) -> tuple[str, str]:
    """Write a post and a comment; return their ids once moderation has seen the comment."""
    post = write(blog, "/posts", title="Hello")
    wait_until(lambda: get(blog, f"/posts/{post}").status_code == 200)
    comment = write(blog, f"/posts/{post}/comments", content=content)
    wait_until(lambda: get(blog, f"/posts/{post}").json()["comments"])
    wait_until(lambda: comment_of(blog, post)["status"] == status)
    return post, comment


def test_deleted_posts_are_gone_for_all_readers(blog: Blog) -> None:
    """With what was said about them, from lists, feed, search and pages; one line for each id."""
    posts = [write(blog, "/posts", title=f"{WORD} {n}", body=WORD) for n in range(2)]
    for post in posts:
        wait_until(lambda: get(blog, f"/posts/{post}").status_code == 200)
        write(blog, f"/posts/{post}/comments", content=WORD)
        wait_until(lambda: get(blog, f"/posts/{post}").json()["comments"])
        wait_until(lambda: comment_of(blog, post)["status"] == "approved")
    assert len(is_shown(blog, posts[0], WORD)) == len(pages(posts[0]))
    done = operate(blog, "posts", "delete", *posts, "nonsense", *posts, "--reason", "spam wave", "--yes")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == posts
    [refused] = done.stderr.splitlines()
    assert refused.startswith("nonsense: ")
    for post in posts:
        wait_until(lambda: not is_shown(blog, post, WORD))
        assert [get(blog, f"/{where}/{post}").status_code for where in ("posts", "read")] == [404, 404]
    again = operate(blog, "posts", "delete", *posts, "--yes")
    assert (again.returncode, again.stdout.count("already")) == (0, 2)
    events = [json.loads(line) for line in blog.cli("events", "--type", "blog.PostDeleted").splitlines()]
    assert [event["data"]["reason"] for event in events] == ["spam wave"] * 2
    assert "operator.done" in blog.cli("logs", "posts")


def test_a_rejected_comment_is_hidden_and_an_approved_one_shown(blog: Blog) -> None:
    """Whatever moderation said; by the comment's id alone."""
    for content, status, verb, turned in (
        ("I like it", "approved", "reject", "rejected"),
        ("an orange", "rejected", "approve", "approved"),
    ):
        post, comment = commented(blog, content, status)
        done = operate(blog, "comments", verb, comment, "--yes", "--reason", "because")
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(lambda: comment_of(blog, post)["status"] == turned)
        shown = (f"/posts/{post}", f"/posts/{post}/comments", f"/read/{post}")
        assert [content in get(blog, path).text for path in shown] == [turned == "approved"] * 3
    assert operate(blog, "comments", "delete", comment, "--yes").returncode == 0
    wait_until(lambda: get(blog, f"/posts/{post}").json()["comments"] == [])


def test_listeners_are_told_of_what_goes(blog: Blog) -> None:
    """As they are when an author takes it back, and without its content."""
    post, comment = commented(blog, "I like it", "approved")
    with requests.get(f"{blog.url}/live", stream=True, timeout=30) as answer:
        assert answer.status_code == 200
        for words in (("comments", "reject", comment), ("posts", "delete", post)):
            assert operate(blog, *words, "--yes").returncode == 0
        lines = answer.iter_lines(decode_unicode=True)
        told = []
        for line in lines:
            told += [line] if line.startswith(("event:", "data:")) else []
            if line == "event: post-deleted":
                break
    assert "I like it" not in "".join(told)
    assert any('"status":"rejected"' in line for line in told)


def at_terminal(blog: Blog, answer: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command at a terminal, and `answer` to what it asks."""
    mine, its = pty.openpty()
    with os.fdopen(mine, "wb", buffering=0) as keys, os.fdopen(its, "rb", buffering=0) as terminal:
        keys.write(answer.encode())
        return operate(blog, *words, stdin=terminal)


def test_at_a_terminal_it_shows_what_goes_and_asks_first(blog: Blog) -> None:
    """Once for all; with no as an answer nothing is done, nor where nobody can be asked."""
    posts = [write(blog, "/posts", title=f"Buy {n}", author="Eve") for n in range(2)]
    done = at_terminal(blog, "n\n", "posts", "delete", *posts)
    assert (done.returncode, "Nothing was done." in done.stdout) == (1, True)
    assert all("Eve" in line and "Buy" in line for line in done.stdout.splitlines()[:2])
    assert operate(blog, "posts", "delete", *posts).returncode == 2
    wait_until(lambda: get(blog, f"/posts/{posts[1]}").status_code == 200)
    assert get(blog, f"/posts/{posts[0]}").status_code == 200
    done = at_terminal(blog, "y\n", "posts", "delete", *posts)
    assert (done.returncode, done.stdout.count("Delete these 2?")) == (0, 1)
    wait_until(lambda: get(blog, f"/posts/{posts[0]}").status_code == 404)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/operator/delete",
        "/v1/operator",
        "/%76%31/operator/delete",
        "/v1%2foperator%2fdelete",
        "//v1/operator/delete",
        "/posts/../v1/operator/delete",
        "/posts/%2e%2e/v1/operator/delete",
        "/posts/..%2fv1%2foperator%2fdelete",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_public_port_leads_nobody_there(blog: Blog, path: str, method: str) -> None:
    """However the path is written, and with the token as well."""
    post = write(blog, "/posts", title="Stays")
    token = (blog.folder / "data" / "run" / "token").read_text().strip()
    host, _, port = blog.url.removeprefix("http://").rpartition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as client:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        client.request(method, path, json.dumps({"id": post}), headers)
        assert client.getresponse().status in (400, 404, 405)
    wait_until(lambda: get(blog, f"/posts/{post}").status_code == 200)
    assert "operator" not in get(blog, "/openapi.json").text
