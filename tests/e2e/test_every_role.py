"""Each role of the other version among all others of this one, and the reverse: every pair, both ways.

Under traffic: instances are replaced and killed, the centre restarts with the files of the other version.
The tests take minutes and need a clone with history: `make chaos` runs them, or BLOG_CHAOS_ROUNDS=1.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.e2e.checkouts import BEFORE, Checkouts, checked_out
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.fleet import PATIENCE, Fleet, Replica, Traffic

SERVICES = ("posts", "comments", "moderation", "query", "web")

pytestmark = [
    pytest.mark.skipif(
        "BLOG_CHAOS_ROUNDS" not in os.environ, reason="takes minutes: `make chaos` runs it"
    ),
    pytest.mark.timeout(300),
]


class Sides(NamedTuple):
    """The code of the role that is of the other version, and that of all others."""

    odd: Path
    even: Path


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkouts]:
    """Check the commit before out."""
    with checked_out(BEFORE, tmp_path_factory.mktemp("before") / "checkout") as found:
        yield found


@pytest.fixture(params=["old among new", "new among old"])
def sides(request: pytest.FixtureRequest, checkouts: Checkouts) -> Sides:
    """Give both directions."""
    is_old = request.param.startswith("old")
    return Sides(checkouts.old, checkouts.new) if is_old else Sides(checkouts.new, checkouts.old)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give an empty one; everything that was started has ended afterwards."""
    fleet = Fleet(tmp_path)
    try:
        yield fleet
    finally:
        fleet.close()


def test_each_service_may_be_of_the_other_version(fleet: Fleet, sides: Sides) -> None:
    """One after the other is replaced by it, one of its instances is killed, and it is replaced again."""
    centre = [fleet.start(name, sides.even) for name in ("gateway", "bus")]
    replicas = {name: [fleet.start(name, sides.even)] for name in SERVICES}
    fleet.wait(*centre, *(replica for some in replicas.values() for replica in some))
    post = fleet.readable_post()
    with Traffic(fleet.url, post).flowing() as traffic:
        for some in replicas.values():
            some.append(fleet.start_ready(some[0].service, sides.odd))
            fleet.replace(traffic, some, sides.odd)
            fleet.kill_one(traffic, some, sides.even)
            leaving = some.pop(0)
            assert leaving.end() == 0
            fleet.wait_until_gone(leaving)
            traffic.go_on()
    assert traffic.wrong == []
    fleet.must_have_settled(post, traffic.written)


@pytest.mark.parametrize("role", ["gateway", "bus", "registry"])
def test_what_is_at_the_centre_may_be_of_the_other_version(fleet: Fleet, sides: Sides, role: str) -> None:
    """An instance is killed under it; then it goes on with its files as the version of all others."""
    centre = start_centre(fleet, sides, role)
    replicas = {name: [fleet.start(name, sides.even)] for name in SERVICES}
    replicas["comments"].append(fleet.start("comments", sides.even))
    fleet.wait(*centre.values(), *(replica for some in replicas.values() for replica in some))
    post = fleet.readable_post()
    with Traffic(fleet.url, post).flowing() as traffic:
        traffic.go_on()
        fleet.kill_one(traffic, replicas["comments"], sides.even)
    assert traffic.wrong == []
    fleet.must_have_settled(post, traffic.written)
    victim = centre[role]
    victim.kill()
    centre[role] = fleet.start(role, sides.even, data=victim.data)
    fleet.wait(*centre.values(), *(replica for some in replicas.values() for replica in some))
    another = wait_until(fleet.write_post, PATIENCE)
    url = f"{fleet.url}/posts/{another}"
    wait_until(lambda: requests.get(url, timeout=PATIENCE).ok, PATIENCE)
    assert fleet.statuses(post) == dict.fromkeys(traffic.written, "approved")
    with Traffic(fleet.url, post).flowing() as again:
        again.go_on()
    assert again.wrong == []
    fleet.must_have_settled(post, traffic.written + again.written)


def start_centre(fleet: Fleet, sides: Sides, role: str) -> dict[str, Replica]:
    """Start the centre, with `role` of the other version; a registry on its own only for that role."""
    names = ("registry", "gateway", "bus") if role == "registry" else ("gateway", "bus")
    return {
        name: fleet.start(
            name, sides.odd if name == role else sides.even, variables=settings_of(name, role)
        )
        for name in names
    }


def settings_of(name: str, role: str) -> dict[str, str]:
    """Return the settings of a gateway that has no registry, beside one on its own."""
    if (name, role) != ("gateway", "registry"):
        return {}
    return {"BLOG_EMBED_REGISTRY": "false", "BLOG_ADMIN_PORT": str(free_port())}
