"""Which log is the blog's: everybody may read it, an operator alone decides."""

import asyncio

import pytest

from blog.registry.client.log_adoption import adopt_log
from blog.registry.log_identity import CLAIMED, LOG_PATH
from tests.registry.server.strangers import STRANGER, ask, protected, put, raw_session
from tests.registry.server.test_rest import AUTH, call
from tests.registry.server.test_service import a_world

PATH = LOG_PATH.removeprefix("/")


async def test_an_operator_adopts_another_log() -> None:
    """The bus with the old one leaves, the one that was turned away joins; it is remembered."""
    kept: list[str] = []
    async with a_world(remember_log=kept.append) as world:
        assert await call(world, "GET", PATH) == (200, {"log": None})
        old = await world.open(await world.stub("b1"), "bus", metadata={"log": "one"})
        await old.ready()
        async with raw_session(world, **AUTH) as away:
            await away.join("b2", "bus", metadata={"log": "two"})
            assert (await away.receive("joined"))["log"] == "one"
            assert "b2" not in world.registry.membership
            assert await call(world, "PUT", PATH, json={"log": "two"}) == (200, {"log": "two"})
            assert (await away.receive("closed"))["code"] == 1013
        async with raw_session(world, **AUTH) as again:
            await again.join("b2", "bus", metadata={"log": "two"})
            assert (await again.receive("joined"))["log"] == "two"
            assert {row.id for row in world.registry.membership.instances} == {"b2"}
            async with asyncio.timeout(10):  # it has joined again, and is turned away
                await old.discovery.wait_until(lambda table: table.log == "two")
        assert kept == ["one", "two"]


@pytest.mark.parametrize("body", [{}, {"log": None}, {"log": ""}, {"log": "a b"}, {"log": "x" * 129}])
async def test_what_is_no_identity_is_refused(body: object) -> None:
    """And nothing changes."""
    async with a_world(known_log="one") as world:
        assert (await call(world, "PUT", PATH, json=body))[0] == 422
        assert world.registry.log_identity.current == "one"


async def test_a_log_that_is_known_already_changes_nothing() -> None:
    """Its bus stays."""
    async with a_world() as world, raw_session(world, **AUTH) as bus:
        await bus.join("b1", "bus", metadata={"log": "one"})
        await bus.receive("joined")
        assert (await call(world, "PUT", PATH, json={"log": "one"}))[0] == 200
        assert "b1" in world.registry.membership


async def test_an_operator_confirms_what_a_stranger_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on no bus replaces it, and it is remembered so."""
    kept: list[str] = []
    known = f"one\n{CLAIMED}"
    async with protected(monkeypatch, known_log=known, remember_log=kept.append) as world:
        await adopt_log(world.http, world.url.rstrip("/"), "one")
        assert (world.registry.log_identity.is_claim, kept) == (False, ["one"])
        assert (await put(world, "bus", "b1", "127.0.0.1:1", metadata={"log": "two"}))[0] == 409


async def test_adoption_is_an_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the token; without one it is done on this machine, by no page and no proxy."""
    async with (
        a_world(known_log="one") as world,
        world.http.put(world.url + PATH, json={"log": "two"}) as response,
    ):
        assert response.status == 401
    async with protected(monkeypatch, known_log="one") as world:
        for headers in ({"Origin": "http://x"}, {"X-Forwarded-For": "10.0.0.1"}):
            async with world.http.put(world.url + PATH, json={"log": "two"}, headers=headers) as response:
                assert response.status == 403
        assert world.registry.log_identity.current == "one"
        monkeypatch.setattr("blog.core.net.access_control.peer_of", lambda _: STRANGER)
        assert (await ask(world, "PUT", PATH, STRANGER, json={"log": "two"}))[0] == 403
        monkeypatch.undo()
        assert (await ask(world, "PUT", PATH, json={"log": "two"}))[0] == 200
