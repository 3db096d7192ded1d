"""Where a blog listens: an IPv6 address, every address, or a name; all that it prints and calls works."""

import json
import re
from collections.abc import Callable

import pytest
import requests

from tests.e2e.conftest import Blog, wait_until
from tests.e2e.test_up import SERVICES


def printed_url(blog: Blog) -> str:
    """Return the URL of the pages, as `blog up` shows it to a person."""
    found = wait_until(lambda: re.search(r"pages +(\S+)", blog.said()), 30)
    return str(found[1])


def test_a_blog_on_ipv6_loopback_is_a_whole_blog(up: Callable[..., Blog]) -> None:
    """Written, moderated, read, looked at, scaled, checked; adopted after a kill, and stopped."""
    blog = up(BLOG_HOST="::1")
    blog.wait_until_ready(**SERVICES)
    assert printed_url(blog).startswith("http://[::1]:")
    post = {"title": "Hello", "body": "World", "author": "Ada"}
    written = requests.post(f"{blog.url}/posts", json=post, timeout=10)
    assert written.status_code == 201
    page = f"{printed_url(blog).rstrip('/')}/posts/{written.json()['id']}"
    wait_until(lambda: requests.get(page, timeout=10).status_code == 200)
    assert blog.cli("healthcheck", "--ready").count("at [::1]:") == sum(SERVICES.values())
    assert json.loads(blog.cli("dead-letters", "list", "--json")) == []
    assert "comments: 2 desired" in blog.cli("scale", "comments=2", "--wait")
    assert {row["state"] for row in json.loads(blog.cli("ps", "--json"))} == {"ready"}
    blog.kill()
    blog.start()
    wait_until(lambda: blog.said().count("ready after") == 2, 30)
    assert requests.get(page, timeout=10).status_code == 200
    assert "nothing is left running" in blog.cli("down")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("[::1]", "http://[::1]:"),
        ("::", "http://[::1]:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("localhost", "http://localhost:"),
    ],
)
def test_the_url_that_is_printed_can_be_opened(up: Callable[..., Blog], host: str, url: str) -> None:
    """Also where the blog listens on every address: that is not one to connect to."""
    blog = up(BLOG_HOST=host)
    blog.wait_until_ready(**SERVICES)
    shown = printed_url(blog)
    assert shown.startswith(url)
    assert requests.get(f"{shown.rstrip('/')}/posts", timeout=10).status_code == 200
    assert "No instance runs here" not in blog.cli("healthcheck", "--ready")


def test_a_host_of_another_machine_is_one_line(up: Callable[..., Blog]) -> None:
    """It names the setting, and no number of an error."""
    blog = up(BLOG_HOST="2001:db8::1")
    assert blog.process.wait(20) == 2
    assert "BLOG_HOST" in blog.said().splitlines()[-1]
    assert "[2001:db8::1]" in blog.said()
