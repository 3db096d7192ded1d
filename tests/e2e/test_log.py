"""What operators do with the log of a blog that runs: look at it, keep a copy, put it back."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.test_kill import SERVICES, a_post


def test_the_log_is_shown_verified_kept_and_put_back(up: Callable[..., Blog]) -> None:
    """After a restore the blog is as it was when the copy was made, on every page."""
    blog = up()
    blog.wait_until_ready(**SERVICES)
    path, _ = a_post(blog)
    assert requests.post(blog.url + path, json={"content": "first"}, timeout=10).status_code == 201
    wait_until(lambda: len(blog.cli("events", "--type", "blog.CommentUpdated").splitlines()) == 1)
    lines = [json.loads(line) for line in blog.cli("events", "--key", path.split("/")[2]).splitlines()]
    assert [line["type"].removeprefix("blog.") for line in lines] == [
        "PostCreated", "CommentCreated", "CommentModerated", "CommentUpdated",
    ]  # fmt: skip
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4]
    assert len(blog.cli("events", "--after", "3").splitlines()) == 1
    assert json.loads(blog.cli("dead-letters", "list", "--json")) == []
    # whoever reads may have enough before everything is written
    piped = ["sh", "-c", f"{sys.executable} -m blog events | true"]
    ended = subprocess.run(piped, env=blog.environ, cwd=blog.folder, capture_output=True, check=True)
    assert ended.stderr == b""
    assert "4 events up to 4: sound" in blog.cli("log", "verify")
    assert "4 events up to 4: sound" in blog.cli("log", "backup", "copy.db")
    assert requests.post(blog.url + path, json={"content": "second"}, timeout=10).status_code == 201
    wait_until(lambda: len(blog.cli("events", "--type", "blog.CommentUpdated").splitlines()) == 2)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        blog.cli("log", "restore", "copy.db")
    assert "stop it first" in refused.value.stderr
    assert refused.value.returncode == 2

    assert blog.stop() == 0
    assert "4 events, now as log" in blog.cli("log", "restore", "copy.db")
    blog = up()
    blog.wait_until_ready(**SERVICES)

    def write(content: str) -> int:
        return requests.post(blog.url + path, json={"content": content}, timeout=10).status_code

    def contents() -> list[str]:
        # the gateway may hear some milliseconds later than the registry that query is ready
        answer = requests.get(f"{blog.url}/posts", timeout=10)
        posts = answer.json().values() if answer.status_code == 200 else ()
        return [comment["content"] for seen in posts for comment in seen["comments"]]

    wait_until(lambda: contents() == ["first"])
    wait_until(lambda: write("third") == 201)
    wait_until(lambda: contents() == ["first", "third"])
    assert "7 events up to 7: sound" in blog.cli("log", "verify")
