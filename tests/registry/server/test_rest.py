"""The registry for people, scripts and other languages."""

import asyncio
from typing import Any

import pytest

from tests.registry.server.test_service import TOKEN, World, a_world

AUTH = {"Authorization": f"Bearer {TOKEN}"}


async def call(world: World, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Call the registry; return status and body."""
    async with world.http.request(method, world.url + path, headers=AUTH, **options) as response:
        return response.status, await response.json() if response.status != 204 else None


async def test_put_get_delete() -> None:
    """Join and beat in one, idempotent, and gone when deleted."""
    async with a_world() as world:
        stub = await world.stub("x1")
        lease = {"address": f"127.0.0.1:{stub.server.port}", "ttl": 5}
        for _ in range(2):
            status, row = await call(world, "PUT", "v1/services/other/instances/x1", json=lease)
            assert (status, row["state"], row["service"]) == (200, "ready", "other")
        assert (await call(world, "PUT", "v1/services/other/instances/x1"))[0] == 200
        rows = (await call(world, "GET", "v1/services/other"))[1]
        assert [row["id"] for row in rows] == ["x1"]
        assert (await call(world, "DELETE", "v1/services/other/instances/x1"))[0] == 204
        assert (await call(world, "GET", "v1/services"))[1]["services"] == {}


async def test_the_weight_of_a_lease_is_accepted_and_changes_nothing() -> None:
    """It is shown as it was put; instances of any weight get the same share."""
    async with a_world() as world:
        for id_, weight in (("x1", 1), ("x2", 1000), ("x3", 0)):
            stub = await world.stub(id_)
            lease = {"address": f"127.0.0.1:{stub.server.port}", "weight": weight}
            status, row = await call(world, "PUT", f"v1/services/other/instances/{id_}", json=lease)
            assert (status, row["weight"]) == (200, weight)
        table = (await world.open(None, follow=["other"])).discovery
        async with asyncio.timeout(5):
            await table.wait_until(lambda table: len(table.serving("other")) == 3)
        chosen = [found.id for _ in range(6) if (found := table.next("other"))]
        assert sorted(chosen) == ["x1", "x1", "x2", "x2", "x3", "x3"]


async def test_a_beat_of_an_unknown_lease_is_404() -> None:
    """The client joins again at once."""
    async with a_world() as world:
        assert (await call(world, "PUT", "v1/services/other/instances/x1"))[0] == 404


@pytest.mark.parametrize(
    "lease",
    [
        {},
        {"address": "nowhere"},
        {"address": "127.0.0.1:1", "ttl": 0.5},
        {"address": "127.0.0.1:1", "ttl": 61},
        {"address": "127.0.0.1:1", "routes": [{"method": "get", "pattern": "x"}]},
    ],
)
async def test_a_bad_lease_is_refused(lease: dict[str, Any]) -> None:
    """422, and nobody joins."""
    async with a_world() as world:
        status, _ = await call(world, "PUT", "v1/services/other/instances/x1", json=lease)
        assert status == 422
        assert not world.registry.membership.instances


async def test_an_address_that_is_none_is_refused() -> None:
    """It fits the pattern, and no resolver takes it: 422 that says so, not an error of ours."""
    async with a_world() as world:
        for address in ("a..b:1", f"{'a' * 64}.b:1", ".a:1"):
            lease = {"address": address}
            status, body = await call(world, "PUT", "v1/services/other/instances/x1", json=lease)
            assert status == 422
            assert "why" not in body or "valid address" in body["why"]


@pytest.mark.parametrize("version", ["9" * 5000, "-1", "1.5", "%C2%B2", "x"])
async def test_a_version_that_is_no_number_is_refused(version: str) -> None:
    """422, however long it is."""
    async with a_world() as world:
        assert (await call(world, "GET", f"v1/watch?version={version}"))[0] == 422


async def test_an_address_that_cannot_be_dialled_says_which_was_tried() -> None:
    """The person sees what to correct."""
    async with a_world() as world:
        stub = await world.stub("x1")
        port = stub.server.port
        await stub.server.close()
        lease = {"address": f"127.0.0.1:{port}"}
        status, body = await call(world, "PUT", "v1/services/other/instances/x1", json=lease)
        assert (status, body["tried"]) == (422, f"127.0.0.1:{port}")
        assert not world.registry.membership.instances


async def test_who_holds_a_session_is_taken_out_only_by_force() -> None:
    """A script does not end a living instance by mistake."""
    async with a_world() as world:
        await world.open(await world.stub("p1"))
        path = "v1/services/posts/instances/p1"
        assert (await call(world, "DELETE", path))[0] == 409
        assert (await call(world, "DELETE", path + "?force=true"))[0] == 204


async def test_watch_answers_when_something_changes() -> None:
    """A long poll: at once if the table is newer, else with the next change."""
    async with a_world() as world, asyncio.TaskGroup() as group:
        watching = group.create_task(call(world, "GET", "v1/watch?version=0"))
        await world.open(await world.stub("p1"))
        async with asyncio.timeout(5):
            status, table = await watching
        assert status == 200
        assert [row["id"] for row in table["services"]["posts"]] == ["p1"]


async def test_prometheus_finds_every_instance() -> None:
    """The format of http_sd_config."""
    async with a_world() as world:
        stub = await world.stub("p1")
        await world.open(stub)
        _, targets = await call(world, "GET", "v1/prometheus")
        labels = {"service": "posts", "instance": "p1"}
        assert targets == [{"targets": [f"127.0.0.1:{stub.server.port}"], "labels": labels}]
