"""Instances of an earlier version and of this one are one blog, whichever of them is at the centre.

A rolling upgrade is such a mixed fleet, and so is going back from one. The tests take minutes and need
a clone with history: `make chaos` runs them, or BLOG_CHAOS_ROUNDS=1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.checkouts import BEFORE, RELEASED, Checkouts, checked_out
from tests.e2e.conftest import Blog, running_in, wait_until
from tests.e2e.fleet import AUTH, PATIENCE, Fleet, Traffic, stranger

SERVICES = {"posts": 1, "comments": 2, "moderation": 2, "query": 2, "web": 2}
FAR = 21_000
"""Events; a view that lags more than 20,000 begins with the snapshot of another instance."""

pytestmark = [
    pytest.mark.skipif(
        "BLOG_CHAOS_ROUNDS" not in os.environ, reason="takes minutes: `make chaos` runs it"
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module", params=[RELEASED, BEFORE], ids=["0.1.0", "the one before"])
def checkouts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkouts]:
    """Check an earlier version out."""
    with checked_out(request.param, tmp_path_factory.mktemp("before") / "checkout") as found:
        yield found


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give an empty one; everything that was started has ended afterwards."""
    fleet = Fleet(tmp_path)
    try:
        yield fleet
    finally:
        fleet.close()


@pytest.fixture(params=["old services, new gateway and bus", "new services, old gateway and bus"])
def sides(request: pytest.FixtureRequest, checkouts: Checkouts) -> tuple[Path, Path]:
    """Give the code of the gateway and the bus, and that of the services."""
    is_new = request.param.startswith("old")
    return (checkouts.new, checkouts.old) if is_new else (checkouts.old, checkouts.new)


def test_both_are_one_blog(fleet: Fleet, sides: tuple[Path, Path]) -> None:
    """An instance is killed and others are replaced by the other version: no error, no loss."""
    centre, around = sides
    core = [fleet.start(name, centre) for name in ("gateway", "bus")]
    replicas = {name: [fleet.start(name, around) for _ in range(n)] for name, n in SERVICES.items()}
    fleet.wait(*core, *(replica for some in replicas.values() for replica in some))
    post = fleet.readable_post()
    with Traffic(fleet.url, post).flowing() as traffic:
        traffic.go_on()
        fleet.kill_one(traffic, replicas["comments"], around)
        for name in ("comments", "moderation", "query", "web"):
            fleet.replace(traffic, replicas[name], centre)
        a_lease_with_a_weight(fleet)
        another = fleet.write_post()
        traffic.go_on()
    assert traffic.wrong == []
    fleet.must_have_settled(post, traffic.written)
    assert another in requests.get(f"{fleet.url}/posts", timeout=PATIENCE).json()
    for replica in core:
        assert replica.end() == 0
    for checkout in sides:
        assert "sound" in verified(core[1].data, checkout)


def a_lease_with_a_weight(fleet: Fleet) -> None:
    """Join over plain HTTP, with the field that once meant something; requests get there."""
    with stranger() as address:
        path = f"{fleet.admin}/v1/services/things/instances/things-1"
        lease: dict[str, Any] = {"address": address, "ttl": 10, "weight": 5}
        lease["routes"] = [{"method": "GET", "pattern": "/things"}]
        joined = requests.put(path, json=lease, headers=AUTH, timeout=PATIENCE)
        assert (joined.status_code, joined.json()["state"]) == (200, "ready"), joined.text
        wait_until(
            lambda: requests.get(f"{fleet.url}/things", timeout=PATIENCE).text == "thing", PATIENCE
        )
        assert requests.delete(path, headers=AUTH, timeout=PATIENCE).status_code == 204


def verified(data: Path, checkout: Path) -> str:
    """Let the command line of a version verify the log in `data`."""
    command = [sys.executable, "-m", "blog", "log", "verify"]
    environ = {"PYTHONPATH": str(checkout), "BLOG_DATA_DIR": str(data)}
    return subprocess.run(
        command, env=environ, cwd="/", check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("is_newer", [True, False], ids=["upgrade", "going back"])
def test_a_master_takes_over_what_the_other_version_left(
    up: Callable[..., Blog], checkouts: Checkouts, *, is_newer: bool
) -> None:
    """A killed `blog up` left its instances; the other version's goes on with them, and replaces them."""
    first, then = (checkouts.old, checkouts.new) if is_newer else (checkouts.new, checkouts.old)
    counts = {"gateway": 1, "bus": 1, "posts": 1, "comments": 2, "moderation": 1, "query": 1}
    scale = ("--scale", "comments=2")
    blog = up(*scale, PYTHONPATH=str(first))
    blog.wait_until_ready(**counts)
    blog.environ["PYTHONPATH"] = str(then)
    ids = {row["id"] for row in blog.table()}
    assert {row["id"] for row in json.loads(blog.cli("ps", "--json"))} == ids, "of a running master too"
    post = requests.post(f"{blog.url}/posts", json={"title": "Hello"}, timeout=PATIENCE).json()["id"]
    blog.kill()
    try:
        blog.start(*scale)
        wait_until(lambda: said_by(blog) == ids, 30)
        blog.cli("rollout", "comments")
        left = {row["id"] for row in blog.ready("comments")}
        assert len(left) == 2
        assert not left & ids
        url = f"{blog.url}/posts/{post}/comments"
        assert requests.post(url, json={"content": "x"}, timeout=PATIENCE).status_code == 201
        assert blog.stop() == 0
    finally:
        blog.stop()
        if running_in(blog.folder):
            blog.cli("down")


def said_by(blog: Blog) -> set[str]:
    """Ask the master who runs; nobody while there is none."""
    try:
        return {row["id"] for row in json.loads(blog.cli("ps", "--json"))}
    except subprocess.CalledProcessError:
        return set()


@pytest.mark.parametrize("is_newer", [True, False], ids=["old", "new"])
def test_down_of_the_other_version_ends_a_blog(
    up: Callable[..., Blog], checkouts: Checkouts, *, is_newer: bool
) -> None:
    """Whoever has installed the next version before stopping this one can still stop it."""
    first, then = (checkouts.old, checkouts.new) if is_newer else (checkouts.new, checkouts.old)
    blog = up(PYTHONPATH=str(first))
    blog.wait_until_ready(gateway=1, bus=1, posts=1)
    blog.environ["PYTHONPATH"] = str(then)
    blog.cli("down")
    assert blog.process.wait(PATIENCE) == 0
    assert not running_in(blog.folder)


@pytest.mark.parametrize("is_newer", [False, True], ids=["from new to old", "from old to new"])
def test_a_snapshot_goes_from_one_to_the_other(
    fleet: Fleet, checkouts: Checkouts, *, is_newer: bool
) -> None:
    """A new instance that is far behind takes the snapshot of the other version; it shows the same."""
    source, target = (checkouts.old, checkouts.new) if is_newer else (checkouts.new, checkouts.old)
    centre = [fleet.start(name, source) for name in ("gateway", "bus", "posts")]
    first = fleet.start("query", source)
    fleet.wait(*centre, first)
    post = wait_until(fleet.write_post, PATIENCE)
    for start in range(0, FAR, 100):
        fleet.ask_bus("POST", "/events", **a_batch(start))
    after = requests.post(f"{fleet.url}/posts", json={"title": "After"}, timeout=PATIENCE)
    seen = {"Blog-After": after.headers["Blog-Sequence"]}
    shown = requests.get(f"{fleet.url}/posts", headers=seen, timeout=PATIENCE).json()
    assert shown.keys() == {post, after.json()["id"]}
    second = fleet.start_ready("query", target)
    fetched = {"snapshot.fetched", "snapshot.taken"}  # as later versions and the first one say
    assert fetched & set(second.said().split('"'))
    assert not {"snapshot.rejected", "snapshot.refused"} & set(second.said().split('"'))
    first.kill()
    fleet.wait_until_gone(first)
    assert requests.get(f"{fleet.url}/posts", headers=seen, timeout=PATIENCE).json() == shown


def a_batch(start: int) -> dict[str, Any]:
    """Make a hundred events of somebody else's."""
    events = [
        {
            "specversion": "1.0", "id": f"noise-{n}", "source": "/elsewhere", "type": "elsewhere.Noise",
            "subject": f"key-{n % 10}", "time": "2026-01-01T00:00:00Z", "data": {"n": n},
        }
        for n in range(start, start + 100)
    ]  # fmt: skip
    return {"json": events, "headers": {"Content-Type": "application/cloudevents-batch+json"}}
