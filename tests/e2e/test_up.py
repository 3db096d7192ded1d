"""What a newcomer does: up, write, read, scale, look, stop; and what wrong input gets."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Blog, running_in, wait_until

SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "comments": 1, "moderation": 1, "query": 1, "web": 1}


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blog]:
    """One running blog for what does not change how many run."""
    running = Blog(tmp_path_factory.mktemp("up"))
    running.wait_until_ready(**SERVICES)
    yield running
    running.stop()
    running.output.close()
    assert not running_in(running.folder)


def post(blog: Blog, path: str, content: Any, **headers: str) -> requests.Response:
    """Send JSON."""
    return requests.post(blog.url + path, json=content, headers=headers, timeout=10)


def get(blog: Blog, path: str, **headers: str) -> requests.Response:
    """Read."""
    return requests.get(blog.url + path, headers=headers, timeout=10)


def comment_status(blog: Blog, post_id: str) -> str:
    """Return the status of the one comment of a post."""
    [comment] = get(blog, f"/posts/{post_id}").json()["comments"]
    return str(comment["status"])


@pytest.mark.parametrize(
    ("content", "status", "shown"),
    [("I like it", "approved", "I like it"), ("ORANGE is a colour", "rejected", None)],
)
def test_the_whole_chain(blog: Blog, content: str, status: str, shown: str | None) -> None:
    """Post, comment, moderation, and the read side shows what came of it."""
    written = post(blog, "/posts", {"title": "Hello", "body": "World", "author": "Ada"})
    assert written.status_code == 201
    id_ = written.json()["id"]
    assert written.headers["Location"] == f"/posts/{id_}"
    sequence = written.headers["Blog-Sequence"]
    assert get(blog, f"/posts/{id_}", **{"Blog-After": sequence}).json()["title"] == "Hello"
    comment = post(blog, f"/posts/{id_}/comments", {"content": content})
    assert (comment.status_code, comment.json()["status"]) == (201, "pending")
    headers = {"Blog-After": comment.headers["Blog-Sequence"]}
    get(blog, f"/posts/{id_}", **headers)
    wait_until(lambda: comment_status(blog, id_) == status)
    for path in (f"/posts/{id_}/comments", f"/posts/{id_}"):
        answer = get(blog, path).json()
        [found] = answer if isinstance(answer, list) else answer["comments"]
        if found["status"] == status:
            assert found["content"] == shown


def test_the_client_of_the_course_works_unchanged(blog: Blog) -> None:
    """POST /posts/create, GET /posts as a map by id, POST /posts/:id/comments."""
    id_ = post(blog, "/posts/create", {"title": "From the course"}).json()["id"]
    wait_until(lambda: id_ in get(blog, "/posts").json())
    assert get(blog, "/posts").json()[id_]["title"] == "From the course"
    created = post(blog, f"/posts/{id_}/comments", {"content": "first"})
    assert created.status_code == 201
    wait_until(lambda: get(blog, "/posts").json()[id_]["comments"])
    wait_until(lambda: get(blog, "/posts").json()[id_]["comments"][0]["status"] == "approved")
    assert get(blog, "/posts").json()[id_]["comments"][0]["content"] == "first"


def test_ids_sort_by_time(blog: Blog) -> None:
    """Whichever replica makes them."""
    ids = [post(blog, "/posts", {"title": str(n)}).json()["id"] for n in range(5)]
    assert ids == sorted(ids)


def test_live_streams_what_appears(blog: Blog) -> None:
    """A post, then its comment pending, then approved."""
    heard: list[tuple[str, Any]] = []
    listening = threading.Event()

    def listen() -> None:
        with requests.get(f"{blog.url}/live", stream=True, timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            listening.set()
            name = ""
            for line in answer.iter_lines(decode_unicode=True):
                field, _, value = line.partition(": ")
                name = value if field == "event" else name
                if field == "data":
                    heard.append((name, json.loads(value)))
                if name == "comment" and heard and heard[-1][1].get("status") == "approved":
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert listening.wait(10)
    id_ = post(blog, "/posts", {"title": "Live"}).json()["id"]
    post(blog, f"/posts/{id_}/comments", {"content": "seen"})
    listener.join(10)
    told = [(name, data.get("status")) for name, data in heard]
    assert told[0] == ("post", None)
    assert told[-1] == ("comment", "approved")


def test_only_the_author_sees_a_rejected_comment(blog: Blog) -> None:
    """Whoever sends the same author token."""
    id_ = post(blog, "/posts", {"title": "Mine"}).json()["id"]
    mine = {"Blog-Author-Token": "my secret"}
    post(blog, f"/posts/{id_}/comments", {"content": "orange"}, **mine)
    wait_until(lambda: get(blog, f"/posts/{id_}").json().get("comments"))
    wait_until(lambda: comment_status(blog, id_) == "rejected")
    assert get(blog, f"/posts/{id_}").json()["comments"][0]["content"] is None
    assert get(blog, f"/posts/{id_}", **mine).json()["comments"][0]["content"] == "orange"


def test_the_same_idempotency_key_writes_once(blog: Blog) -> None:
    """The same answer again; another body with that key is 422."""
    key = {"Idempotency-Key": "k-1"}
    first = post(blog, "/posts", {"title": "Once"}, **key)
    again = post(blog, "/posts", {"title": "Once"}, **key)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["Blog-Sequence"] == again.headers["Blog-Sequence"]
    assert post(blog, "/posts", {"title": "Twice"}, **key).status_code == 422


DEEP = b'{"title": ' + b"[" * 5000 + b"]" * 5000 + b"}"
BAD = [
    (b"{}", "application/json", 422),
    (b'{"title": 7}', "application/json", 422),
    (b'{"title": "' + b"x" * 201 + b'"}', "application/json", 422),
    (b'{"title": ""}', "application/json", 422),
    (b'{"title": "a\\u0000b"}', "application/json", 422),
    (b'{"title": "a\x00b"}', "application/json", 400),
    (b'{"title": "\xff\xfe"}', "application/json", 400),
    (b'{"title": ', "application/json", 400),
    (b"", "application/json", 400),
    (b"[]", "application/json", 422),
    (b'"title"', "application/json", 422),
    (DEEP, "application/json", 400),
    (b'{"title": "x", "body": "' + b"y" * (2 << 20) + b'"}', "application/json", 413),
    (b"title=x", "application/x-www-form-urlencoded", 415),
    (b'{"title": "x"}', "text/plain", 415),
]


@pytest.mark.parametrize(("body", "content_type", "status"), BAD)
@pytest.mark.parametrize("path", ["/posts", "/posts/create"])
def test_bad_input_is_a_problem_and_changes_nothing(
    blog: Blog, path: str, body: bytes, content_type: str, status: int
) -> None:
    """RFC 9457, and the log is as long as before."""
    before = get(blog, "/posts?limit=1").text
    headers = {"Content-Type": content_type}
    answer = requests.post(blog.url + path, data=body, headers=headers, timeout=10)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert problem["title"]
    assert problem["detail"]
    assert get(blog, "/posts?limit=1").text == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/posts/00000000-0000-7000-8000-000000000000/comments", 404),
        ("GET", "/posts/00000000-0000-7000-8000-000000000000", 404),
        ("GET", "/posts/00000000-0000-7000-8000-000000000000/comments", 404),
        ("POST", "/posts/__proto__/comments", 404),
        ("GET", "/posts/__proto__", 404),
        ("GET", "/posts/%00", 404),
        ("GET", "/posts/%ff%fe", 404),
        ("GET", "/posts/..%2f..%2fetc", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/events", 404),
        ("GET", "/readyz", 404),
        ("GET", "/metrics", 404),
        ("POST", "/reactions", 404),
        ("GET", "/v1/services", 404),
        ("DELETE", "/posts", 405),
        ("GET", "/posts?limit=0", 422),
        ("GET", "/posts?limit=x", 422),
        ("GET", "/posts?before=nobody", 422),
    ],
)
def test_what_is_not_there(blog: Blog, method: str, path: str, status: int) -> None:
    """Unknown posts, odd ids, inner doors: a problem each."""
    body = {"content": "x"} if method == "POST" else None
    answer = requests.request(method, blog.url + path, json=body, timeout=10)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    if status == 405:
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_etag_and_paging(blog: Blog) -> None:
    """Who has the page already gets 304; the link leads to the next one."""
    for n in range(3):
        last = post(blog, "/posts", {"title": f"Page {n}"})
    page = get(blog, "/posts?limit=2", **{"Blog-After": last.headers["Blog-Sequence"]})
    assert len(page.json()) == 2
    again = get(blog, "/posts?limit=2", **{"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    following = get(blog, page.links["next"]["url"])
    assert not page.json().keys() & following.json().keys()
    assert following.json()


def test_openapi_describes_every_route_of_the_blog(blog: Blog) -> None:
    """Merged from what the instances declare."""
    document = get(blog, "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    expected = {"/posts", "/posts/create", "/posts/{post_id}", "/posts/{post_id}/comments", "/live"}
    assert expected <= document["paths"].keys()
    assert document["paths"]["/posts"].keys() >= {"get", "post"}


def test_head_goes_where_get_goes(blog: Blog) -> None:
    """The same headers, no body."""
    answer = requests.head(f"{blog.url}/posts", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "application/json"


def test_ps_shows_everybody(blog: Blog) -> None:
    """For people, and as JSON rows for scripts."""
    rows = json.loads(blog.cli("ps", "--json"))
    assert {row["service"] for row in rows} == set(SERVICES)
    keys = {"id", "service", "state", "address", "version", "uptime_s", "in_flight"}
    assert all(keys <= row.keys() for row in rows)
    assert {row["state"] for row in rows} == {"ready"}
    assert "moderation" in blog.cli("ps")


def test_logs_are_kept_per_instance(blog: Blog) -> None:
    """And can be asked for by service."""
    get(blog, "/posts")
    wait_until(lambda: "request.served" in blog.cli("logs", "query"))


def test_scaling_up_and_down(up: Callable[..., Blog]) -> None:
    """One more replica gets its share; fewer are drained, newest first; nobody sees an error."""
    blog = up()
    blog.wait_until_ready(**SERVICES)
    [oldest] = blog.ready("query")
    blog.cli("scale", "query=3")
    blog.wait_until_ready(query=3)
    answers = [get(blog, "/posts") for _ in range(30)]
    assert {a.status_code for a in answers} == {200}
    assert len({a.headers["Blog-Served-By"] for a in answers}) == 3
    blog.cli("scale", "query=1")
    while len(blog.table("query")) > 1:
        assert get(blog, "/posts").status_code == 200
    assert [row["id"] for row in blog.ready("query")] == [oldest["id"]]


def test_ctrl_c_drains_and_data_stays(up: Callable[..., Blog], tmp_path: Path) -> None:
    """Exit code 0, nothing left running, and the next start shows what was written."""
    blog = up()
    blog.wait_until_ready(**SERVICES)
    id_ = post(blog, "/posts", {"title": "Kept"}).json()["id"]
    assert blog.stop(signal.SIGINT) == 0
    assert not running_in(tmp_path)
    again = up()
    began = time.monotonic()
    again.wait_until_ready(**SERVICES)
    print(f"second start: ready after {time.monotonic() - began:.1f} s")
    assert get(again, f"/posts/{id_}").json()["title"] == "Kept"


def test_down_stops_what_up_d_started(tmp_path: Path, up: Callable[..., Blog]) -> None:
    """`up -d` returns once the blog answers; `down` returns once nothing runs."""
    blog = up("-d")
    assert blog.process.wait(40) == 0, blog.said()
    assert get(blog, "/posts").status_code == 200
    blog.cli("down")
    assert not running_in(tmp_path)


@pytest.mark.parametrize("variable", ["BLOG_PUBLIC_PORT", "BLOG_ADMIN_PORT"])
def test_a_taken_port_is_one_clear_line(tmp_path: Path, variable: str) -> None:
    """It names the variable, and the exit code is 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        blog = Blog(tmp_path)
        blog.stop()
        environ = blog.environ | {variable: str(port)}
        command = [sys.executable, "-m", "blog", "up"]
        done = subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
        blog.output.close()
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert variable in line
    assert str(port) in line
    assert not running_in(tmp_path)
