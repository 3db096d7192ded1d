"""What an older version left behind goes on: its log, its views, its `blog.toml`, its run folder.

`tests/data/README.md` says what there is, and how it was made.
"""

import json
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Blog, running_in, wait_until

DATA = Path(__file__).parents[1] / "data"
OLD = [(version, kind) for version in ("0.1.0",) for kind in ("stopped", "killed")]
MADE_UP_HOST = "a-made-up-host"
AUTHOR = {"Blog-Author-Token": "a made-up secret"}
COUNTS = {"gateway": 1, "bus": 1, "posts": 1, "moderation": 2, "query": 2}
"""Of the services whose number does not depend on the time of day, as blog.toml has them."""
COMMENTS = {"stopped": {1, 2}, "killed": {3}}
"""By the schedule; by hand, which holds over a kill."""


def left(folder: Path, version: str, kind: str) -> dict[str, Any]:
    """Put the data directory into `folder`, as if it had been left here; return what was seen."""
    with tarfile.open(DATA / version / f"{kind}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    shutil.copy(DATA / version / "blog.toml", folder)
    for path in (folder / "data" / "run" / "instances").iterdir():
        path.write_text(path.read_text().replace(MADE_UP_HOST, socket.gethostname()))
    if kind == "killed":
        with socket.socket(socket.AF_UNIX) as control:  # no archive keeps a socket
            control.bind(str(folder / "data" / "run" / "control.sock"))
    found: dict[str, Any] = json.loads((DATA / version / "seen.json").read_text())
    return {**found["stopped"], **found[kind]}


def views(folder: Path) -> dict[str, int]:
    """Name the files of views, by what makes each a file of its own: one built anew is another one."""
    paths = [
        path for name in ("comments", "posts", "query") for path in (folder / "data" / name).iterdir()
    ]
    return {str(path): path.stat().st_ino for path in paths if path.suffix == ".db"}


@pytest.fixture(params=OLD, ids="-".join)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """Have a directory that was left; give how it ended, and what was seen before."""
    version, kind = request.param
    return kind, left(tmp_path, version, kind)


def test_an_old_data_directory_goes_on(
    up: Callable[..., Blog], tmp_path: Path, old: tuple[str, dict[str, Any]]
) -> None:
    """Everything is there under its ids, from the views as they were; writes and commands go on."""
    kind, seen = old
    before = views(tmp_path)
    blog = up()
    blog.wait_until_ready(**COUNTS)
    wait_until(lambda: len(blog.ready("comments")) in COMMENTS[kind], 30)
    shows_what_it_showed(blog, seen)
    means_what_it_meant(blog, seen)
    takes_up_the_deliveries(blog, seen)
    goes_on(blog, seen)
    assert views(tmp_path).items() >= before.items(), "no view is built anew"
    run_files = {path.stem for path in (tmp_path / "data" / "run" / "instances").glob("*.json")}
    assert run_files == {row["id"] for row in blog.table()}, "of those who were killed none is left"
    assert blog.stop() == 0
    assert "sound" in blog.cli("log", "verify")
    assert not running_in(tmp_path)


def shows_what_it_showed(blog: Blog, seen: dict[str, Any]) -> None:
    """Readers see what they saw, from every copy; what was deleted is gone."""
    for _ in range(4):  # as many copies as may take turns
        assert requests.get(f"{blog.url}/posts", timeout=10).json().keys() == seen["posts"].keys()
        for id_, post in seen["posts"].items():
            assert requests.get(f"{blog.url}/posts/{id_}", timeout=10).json() == post
            comments = requests.get(f"{blog.url}/posts/{id_}/comments", timeout=10).json()
            assert comments == seen["comments"][id_]
    for id_ in seen["deleted"]:
        assert requests.get(f"{blog.url}/posts/{id_}", timeout=10).status_code in (404, 410)
    events = [json.loads(line) for line in blog.cli("events").splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, seen["head"] + 1))
    assert sorted({event["type"] for event in events}) == seen["types"]


def means_what_it_meant(blog: Blog, seen: dict[str, Any]) -> None:
    """`blog.toml` wants the same of each service, at the same times."""
    rows = json.loads(blog.cli("ps", "--json"))
    wanted = {row["service"]: row["wanted"] for row in rows if row["service"] != "comments"}
    assert wanted == {name: count for name, count in seen["wanted"].items() if name != "pedant"}
    schedule = json.loads(blog.cli("schedule", "--json", "-n", "1"))

    def entries(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # of two entries of one service, which is next depends on the time of day
        return [
            {name: row[name] for name in ("service", "timezone", "held")}
            | ({"at": row["at"], "replicas": row["replicas"]} if row["service"] == "query" else {})
            for row in table
        ]

    assert entries(schedule) == entries(seen["schedule"])


def takes_up_the_deliveries(blog: Blog, seen: dict[str, Any]) -> None:
    """Subscriptions are where they were; a dead letter can be discarded, and what waited goes on."""
    assert json.loads(blog.cli("dead-letters", "list", "--json")) == seen["dead_letters"]
    were = {row["name"]: row for row in seen["subscriptions"]}
    now = {row["name"]: row for row in subscriptions(blog)}
    assert now.keys() == were.keys()
    for name, row in now.items():
        assert {key: row[key] for key in ("types", "dead", "parked", "paused")} == {
            key: were[name][key] for key in ("types", "dead", "parked", "paused")
        }
        assert row["watermark"] >= were[name]["watermark"]
    blog.cli("dead-letters", "discard", seen["dead_letters"][0]["id"])
    assert json.loads(blog.cli("dead-letters", "list", "--json")) == []


def subscriptions(blog: Blog) -> list[dict[str, Any]]:
    """Ask the bus how far each one is."""
    [bus] = blog.ready("bus")
    token = (blog.folder / "data" / "run" / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Blog-Instance": bus["id"]}
    url = f"http://{bus['address']}/subscriptions"
    found: list[dict[str, Any]] = requests.get(url, headers=headers, timeout=10).json()
    return found


def goes_on(blog: Blog, seen: dict[str, Any]) -> None:
    """Repeat a request of then, which has its answer of then; write as an author of then, and anew."""
    repeated = seen["repeated"]
    key = {"Idempotency-Key": "a-made-up-key"}
    again = requests.post(f"{blog.url}/posts", json=repeated["body"], headers=key, timeout=10)
    assert (again.status_code, again.json()["id"]) == (201, repeated["id"])
    url = f"{blog.url}/posts/{seen['mine']}"
    assert requests.put(url, json={"title": "Stolen"}, timeout=10).status_code in (401, 403)
    edited = requests.put(url, json={"title": "Mine, edited"}, headers=AUTHOR, timeout=10)
    assert (edited.status_code, edited.json()["sequence"]) == (200, seen["head"] + 1)
    written = requests.post(f"{url}/comments", json={"content": "new"}, timeout=10).json()["id"]

    def shown() -> dict[str, str]:
        post = requests.get(url, timeout=10).json()
        return {comment["id"]: comment["status"] for comment in post["comments"]}

    wait_until(lambda: shown().get(written) == "approved")
    assert requests.get(url, timeout=10).json()["title"] == "Mine, edited"


@pytest.mark.parametrize(("version", "kind"), OLD)
def test_an_old_log_is_sound(tmp_path: Path, version: str, kind: str) -> None:
    """Also before anything is started: `blog log verify`, and a backup that is restored elsewhere."""
    seen = left(tmp_path, version, kind)
    sound = f"{seen['head']} events up to {seen['head']}: sound"
    assert sound in typed(tmp_path, "data", "verify")
    assert sound in typed(tmp_path, "data", "backup", "copy.db")
    assert f"{seen['head']} events" in typed(tmp_path, "elsewhere", "restore", "copy.db")
    assert sound in typed(tmp_path, "elsewhere", "verify")


def typed(folder: Path, data: str, *words: str) -> str:
    """Type `blog log` for the data directory `data`; return what it said."""
    command = [sys.executable, "-m", "blog", "log", *words]
    environ = {"BLOG_DATA_DIR": str(folder / data)}
    done = subprocess.run(command, env=environ, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout
