"""What a joiner says is a claim: over sessions and REST, with a token and in protected mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.instance import Instance, Load, State
from blog.registry.server.admission import IS_RESERVED
from blog.registry.server.joins import JoinRefusedError
from blog.registry.server.ownership import ROUTES_OF_STRANGER
from blog.registry.server.session import SILENT_AFTER, ServerSession
from blog.registry.server.transitions import RemovalCause
from tests.registry.server.strangers import (
    HERE,
    OTHER,
    STRANGER,
    RawSession,
    ask,
    protected,
    put,
    raw_session,
)
from tests.registry.server.test_rest import AUTH
from tests.registry.server.test_service import World, a_world

OLD = "1970-01-01T00:00:00Z"


@asynccontextmanager
async def a_pair() -> AsyncIterator[tuple[World, RawSession, RawSession]]:
    """Run a registry with a token; give two sessions that have it."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as one,
        raw_session(world, **AUTH) as two,
    ):
        yield world, one, two


async def joined(session: RawSession, id_: str, service: str = "posts", **others: object) -> None:
    """Join and wait until the registry says so."""
    await session.join(id_, service, **others)
    await session.receive("joined")


async def refused(session: RawSession, id_: str, service: str = "posts", **others: object) -> str:
    """Join and be refused; return why."""
    await session.join(id_, service, **others)
    return str((await session.receive("closed"))["why"])


def ids(world: World) -> set[str]:
    """Return who is in the table."""
    return {row.id for row in world.registry.membership.instances}


async def test_another_session_cannot_take_an_id() -> None:
    """With the token too: the first one is untouched, is heard, and drains."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as first,
        raw_session(world, **AUTH) as other,
    ):
        await joined(first, "p1", address="127.0.0.1:2")
        assert "another session" in await refused(other, "p1", address="127.0.0.1:3")
        row = world.registry.membership.get("p1")
        assert row is not None
        assert row.address == "127.0.0.1:2"
        await first.send("drain")
        await first.receive("drained")


async def test_the_same_process_has_its_id_back_at_once() -> None:
    """Its old connection is half open, and goes; nobody else gets the id meanwhile."""
    async with a_pair() as (world, old, new):
        await joined(old, "p1", key="secret")
        [session] = world.registry.publisher.sessions_of("p1")
        session._missed_heartbeats = SILENT_AFTER + 1
        await joined(new, "p1", key="secret")
        closed = await old.receive("closed")
        assert (closed["code"], closed["why"]) == (1013, "your id belongs to another session now")
        assert world.registry.has_session("p1")
        async with raw_session(world, **AUTH) as thief:
            assert "another process" in await refused(thief, "p1", key="secreT")


async def test_a_process_that_knows_a_registry_by_two_names_has_two_sessions_there() -> None:
    """A gateway knows its own by loopback and by the name that others use: both sessions stay."""
    async with a_pair() as (world, one, other):
        for session in (one, other, one, other):
            await joined(session, "p1", key="secret")
        assert len(world.registry.publisher.sessions_of("p1")) == 2


async def test_a_client_proves_itself_over_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """One secret per process, another one for each."""
    keys: list[tuple[str, str | None]] = []
    async with a_world() as world:
        join = world.registry.joins.join

        def noted(session: ServerSession, instance: Instance, key: str | None = None) -> bool:
            keys.append((instance.id, key))
            return join(session, instance, key)

        monkeypatch.setattr(world.registry.joins, "join", noted)
        await world.open(await world.stub("p1"))
        await world.open(await world.stub("p2"))
        [session] = world.registry.publisher.sessions_of("p1")
        await session.socket.close()
        async with asyncio.timeout(10):
            while len(keys) < 3:
                await asyncio.sleep(0.01)
    found = [key for id_, key in keys if id_ == "p1"]
    assert found[0] == found[1] is not None
    assert len(found[0] or "") >= 20
    assert keys[1][1] not in (None, found[0])


async def test_the_key_is_shown_to_nobody() -> None:
    """Neither in rows nor in tables."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as first,
        raw_session(world, **AUTH) as other,
    ):
        await joined(first, "p1", key="very-secret")
        await other.send("join", follow=["*"])
        snapshot = await other.receive("snapshot")
        _, body = await ask_with_token(world, "v1/services")
        assert "very-secret" not in f"{snapshot} {body} {world.registry!r}"


async def ask_with_token(world: World, path: str) -> tuple[int, object]:
    """Read from the registry."""
    async with world.http.get(world.url + path, headers=AUTH) as response:
        return response.status, await response.json()


async def test_an_older_version_has_its_id_back_once_the_old_session_is_silent() -> None:
    """It sends no key; its heartbeats would have come."""
    async with a_world() as world, raw_session(world, **AUTH) as old:
        await joined(old, "p1")
        [session] = world.registry.publisher.sessions_of("p1")
        for _ in range(SILENT_AFTER):
            session.send_keep_alive()
        async with raw_session(world, **AUTH) as new:
            await joined(new, "p1")
            assert (await old.receive("closed"))["code"] == 1013
            assert world.registry.publisher.sessions_of("p1")


async def test_of_two_at_once_one_has_the_id() -> None:
    """Both joins are in the registry's hands in one turn of its loop."""
    async with a_pair() as (_, one, two):
        await asyncio.gather(one.join("p1"), two.join("p1"))
        first, second = await asyncio.gather(
            one.receive("joined", "closed"), two.receive("joined", "closed")
        )
        assert sorted((first["type"], second["type"])) == ["closed", "joined"]


@pytest.mark.parametrize(("id_", "service"), [("p2", "posts"), ("p1", "comments")])
async def test_a_session_is_of_one_instance(id_: str, service: str) -> None:
    """It cannot become another one, or another service."""
    async with a_world() as world, raw_session(world, **AUTH) as session:
        await joined(session, "p1")
        assert "another" in await refused(session, id_, service)
        assert "p2" not in ids(world)


async def test_a_session_without_its_id_changes_nothing() -> None:
    """Its leave, drain, ready and heartbeats are those of nobody."""
    async with a_pair() as (world, old, new):
        await joined(old, "p1", key="k")
        [session] = world.registry.publisher.sessions_of("p1")
        world.registry.membership.remove("p1", RemovalCause.SILENT)
        await joined(new, "p1", key="other")
        assert session.instance_id is None
        for kind in ("ready", "drain", "leave", "beat"):
            if not old.socket.closed:
                await old.send(kind)
        await old.receive("closed")
        row = world.registry.membership.get("p1")
        assert row is not None
        assert row.state is State.STARTING


async def test_a_lease_and_a_session_do_not_share_an_id() -> None:
    """Whoever was first keeps it, whatever the other one puts, renews or deletes."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as session,
        raw_session(world, **AUTH) as other,
    ):
        await joined(session, "p1")
        stub = await world.stub("x1")
        address = f"127.0.0.1:{stub.server.port}"
        assert await status(world, "PUT", "posts/instances/p1", {"address": address}) == 409
        assert await status(world, "PUT", "posts/instances/p1") == 409
        assert await status(world, "PUT", "other/instances/x1", {"address": address}) == 200
        assert "lease" in await refused(other, "x1", "other")
        assert ids(world) == {"p1", "x1"}


async def test_another_services_instance_is_not_there() -> None:
    """404 for its renewal and its removal, 409 for what would replace it; forced or not."""
    async with a_world() as world:
        stub = await world.stub("foreign-1")
        address = f"127.0.0.1:{stub.server.port}"
        assert await status(world, "PUT", "other/instances/foreign-1", {"address": address}) == 200
        for query in ("", "?force=true"):
            assert await status(world, "DELETE", f"posts/instances/foreign-1{query}") == 404
        assert await status(world, "PUT", "posts/instances/foreign-1") == 404
        assert await status(world, "PUT", "posts/instances/foreign-1", {"address": address}) == 409
        assert ids(world) == {"foreign-1"}


async def status(world: World, method: str, path: str, body: object = None) -> int:
    """Call the registry with the token; return the status."""
    options: dict[str, Any] = {} if body is None else {"json": body}
    async with world.http.request(
        method, f"{world.url}v1/services/{path}", headers=AUTH, **options
    ) as response:
        return response.status


async def test_a_lease_belongs_to_the_address_that_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token another address neither overwrites, renews nor ends it; this machine does."""
    async with protected(monkeypatch) as world:
        stub = await world.stub("x1")
        address = f"127.0.0.1:{stub.server.port}"
        assert (await put(world, "other", "x1", address, STRANGER))[0] == 200
        assert (await put(world, "other", "x1", "127.0.0.1:1", OTHER))[0] == 409
        assert (await put(world, "other", "x1", None, OTHER))[0] == 403
        path = "v1/services/other/instances/x1"
        assert (await ask(world, "DELETE", path, OTHER))[0] == 403
        assert (await put(world, "other", "x1", None, STRANGER))[0] == 200
        assert (await ask(world, "DELETE", path, HERE))[0] == 204


async def test_an_id_changes_its_service_only_once_followers_know_that_the_first_is_gone() -> None:
    """Who follows that service alone would keep it, with the address of the other."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as follower,
        raw_session(world, **AUTH) as first,
    ):
        await follower.send("join", follow=["posts"])
        await joined(first, "p1")
        assert (await follower.receive("delta"))["put"][0]["id"] == "p1"
        world.registry.membership.remove("p1", RemovalCause.LEFT)
        other = Instance(id="p1", service="other", address="127.0.0.1:1", started_at=datetime.now(UTC))
        with pytest.raises(
            JoinRefusedError, match="a moment ago"
        ) as caught:  # before any other task runs
            world.registry.joins.put_lease(other, HERE, 5.0)
        assert not caught.value.is_final
        world.registry.schedule_delta()
        assert (await follower.receive("delta"))["gone"] == [{"id": "p1", "why": "left"}]
        async with raw_session(world, **AUTH) as second:
            await joined(second, "p1", "other")


async def test_a_stranger_declares_so_many_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over sessions and REST; replicas of a service declare the same, which counts once."""
    routes = [{"method": "GET", "pattern": f"/x{number}"} for number in range(ROUTES_OF_STRANGER)]
    more = routes[:1]
    async with (
        protected(monkeypatch) as world,
        raw_session(world, STRANGER) as one,
        raw_session(world, STRANGER) as two,
        raw_session(world, STRANGER) as three,
        raw_session(world, OTHER) as other,
        raw_session(world, HERE) as here,
    ):
        await joined(one, "a", "one", routes=routes)
        await joined(two, "b", "one", routes=routes)
        assert (await put(world, "two", "c", "127.0.0.1:1", STRANGER, routes=more))[0] == 429
        assert "without a token" in await refused(three, "d", "one", routes=more)
        await joined(other, "e", "two", routes=more)
        await joined(here, "f", "two", routes=more)


async def test_no_claim_of_a_start_comes_first() -> None:
    """1970, year 1 and the far future: the order is the registry's, over both ways in."""
    async with (
        a_world() as world,
        raw_session(world, **AUTH) as first,
        raw_session(world, **AUTH) as evil,
    ):
        before = datetime.now(UTC)
        await joined(first, "p1")
        await joined(evil, "e1", "evil", started_at=OLD)
        rows = {row.service: row for row in world.registry.membership.instances}
        assert before <= rows["posts"].started_at < rows["evil"].started_at
        assert rows["evil"].running_since >= before


async def test_the_order_of_services_outlives_a_restart() -> None:
    """What was known before comes before what is new, however fast that joins."""
    stored: list[list[str]] = []
    async with a_world(
        known_services={"posts": 1, "comments": 1}, remember_services=lambda it: stored.append(list(it))
    ) as world:
        for id_, service in (("n1", "new"), ("c1", "comments"), ("p1", "posts")):
            await (await world.open(await world.stub(id_), service)).ready()
        rows = sorted(world.registry.membership.instances, key=lambda row: row.started_at)
        assert [row.id for row in rows] == ["p1", "c1", "n1"]
        async with asyncio.timeout(10):
            while not stored or len(stored[-1]) < 3:
                await asyncio.sleep(0.01)
        assert stored[-1] == ["posts", "comments", "new"]


@pytest.mark.parametrize("service", ["bus", "gateway", "registry", "master"])
async def test_a_reserved_name_is_refused_to_a_second_stranger(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over sessions and REST; it is in as soon as the first one is gone."""
    async with protected(monkeypatch) as world, raw_session(world, STRANGER) as first:
        await joined(first, "a", service)
        async with raw_session(world, OTHER) as second:
            assert await refused(second, "b", service) == IS_RESERVED
            assert second.socket.close_code == 1013
        assert (await put(world, service, "c", "127.0.0.1:1", OTHER))[0] == 403
        await first.send("leave")
        async with raw_session(world, OTHER) as second:
            async with asyncio.timeout(10):
                while "a" in ids(world):
                    await asyncio.sleep(0.01)
            await joined(second, "b", service)
            assert ids(world) == {"b"}


async def test_a_trusted_bus_puts_a_strangers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came first does not decide who is believed."""
    async with (
        protected(monkeypatch) as world,
        raw_session(world, STRANGER) as fake,
        raw_session(world) as real,
    ):
        await joined(fake, "a", "bus", metadata={"log": "one"})
        await joined(real, "b", "bus", metadata={"log": "one"})
        assert (await fake.receive("closed"))["code"] == 1013
        assert ids(world) == {"b"}


async def test_with_a_token_there_may_be_several_of_a_reserved_name() -> None:
    """Two gateways, two buses."""
    async with a_pair() as (world, one, two):
        await joined(one, "a", "gateway")
        await joined(two, "b", "gateway")
        assert ids(world) == {"a", "b"}


async def test_what_a_stranger_expects_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of a master, and ids, count only from who is trusted."""
    async with protected(monkeypatch, known_services={"posts": 1}) as world:
        for peer, is_heard in ((STRANGER, False), (HERE, True)):
            async with raw_session(world, peer) as session:
                await session.send("join", expects={"evil": 9}, known=["ghost"])
                await session.receive("joined")
                table = repr(world.registry.membership._completeness)
                assert ("evil" in table, "1 by id" in table) == (is_heard, is_heard)


async def test_a_stranger_sends_no_huge_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even parsed; who is trusted may list every instance that it knows."""
    known = [f"{number:060}" for number in range(30_000)]
    async with protected(monkeypatch) as world:
        async with raw_session(world, STRANGER) as session:
            await session.send("join", known=known)
            assert (await session.receive("closed"))["code"] == 1009
        async with raw_session(world) as session:
            await session.send("join", known=known)
            await session.receive("joined")


async def test_a_huge_row_is_refused_with_its_bound() -> None:
    """Over sessions and REST; nobody else hears of it."""
    routes = [{"method": "GET", "pattern": f"/x{number}"} for number in range(1_001)]
    async with a_world() as world, raw_session(world, **AUTH) as session:
        assert await refused(session, "p1", routes=routes) == "routes: at most 1000, not 1001"
        body = {"address": "127.0.0.1:1", "routes": routes}
        assert await status(world, "PUT", "posts/instances/p1", body) == 422
        assert not ids(world)
        async with raw_session(world, **AUTH) as other:
            await other.send("join", follow=[f"s{number}" for number in range(1_001)])
            assert "follow" in (await other.receive("closed"))["why"]


@pytest.mark.parametrize("load", ['{"loop_lag_ms": 1e999}', '{"in_flight": 1e30}', '{"in_flight": -1}'])
async def test_a_load_that_is_no_number_of_ours_changes_nothing(load: str) -> None:
    """It would be in the table that everybody reads; it counts as a heartbeat all the same."""
    async with a_world() as world, raw_session(world, **AUTH) as session:
        await joined(session, "p1")
        await session.send("beat", load={"in_flight": 7})
        await session.socket.send_str(f'{{"type": "beat", "load": {load}}}')
        await session.send("join", instance=None)  # its response comes after the heartbeats
        await session.receive("joined")
        found = world.registry.membership.get("p1")
        assert found is not None
        assert found.load == Load(in_flight=7)


async def test_a_bus_with_another_log_does_not_join_by_put() -> None:
    """Nor does one that says of itself that it adopts, or that has none."""
    async with a_world(known_log="one") as world:
        for metadata in ({"log": "two", "adopt": "true"}, {}):
            body = {"address": "127.0.0.1:1", "metadata": metadata}
            assert await status(world, "PUT", "bus/instances/b2", body) == 409
        assert world.registry.log_identity.current == "one"


async def test_a_bus_that_does_not_respond_decides_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over sessions and REST, with the token too: nothing is known, nor remembered."""
    kept: list[str] = []
    evil = {"log": "evil"}
    async with a_world(remember_log=kept.append) as world, raw_session(world, **AUTH) as session:
        await joined(session, "b1", "bus", metadata=evil)
        await session.send("ready")
        await session.receive("refused")
        body = {"address": "127.0.0.1:1", "metadata": evil}
        assert await status(world, "PUT", "bus/instances/b2", body) == 422
        assert (world.registry.log_identity.current, kept) == (None, [])
    async with protected(monkeypatch, remember_log=kept.append) as world:
        assert (await put(world, "bus", "b1", "127.0.0.1:1", STRANGER, metadata=evil))[0] == 422
        async with raw_session(world, STRANGER) as session:
            await session.join("b2", "bus", metadata=evil)
            assert (await session.receive("joined"))["log"] == "evil"  # as far as it is concerned
            async with raw_session(world, OTHER) as follower:
                await follower.send("join")
                assert (await follower.receive("joined"))["log"] is None
        assert (world.registry.log_identity.current, kept) == (None, [])
        real = await world.stub("b3")
        address = f"127.0.0.1:{real.server.port}"
        assert (await put(world, "bus", "b3", address, HERE, metadata={"log": "real"}))[0] == 200
        assert (world.registry.log_identity.current, kept) == ("real", ["real"])


async def test_a_trusted_bus_replaces_the_log_that_a_stranger_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is ready; whether the stranger's bus is still there or has left, and after a restart."""
    kept: list[str] = []
    async with protected(monkeypatch, remember_log=kept.append) as world:
        await _put_bus(world, "evil", STRANGER)
        assert world.registry.log_identity.current == "evil"
        assert (await ask(world, "DELETE", "v1/services/bus/instances/evil", STRANGER))[0] == 204
        assert (await put(world, "bus", "b0", "127.0.0.1:1", OTHER, metadata={"log": "real"}))[0] == 409
    for is_there in (True, False):
        async with (
            protected(monkeypatch, known_log=kept[-1], remember_log=kept.append) as world,
            raw_session(world) as bus,
        ):
            if is_there:
                await _put_bus(world, "evil", STRANGER)
            real = await world.stub("real")
            where = f"127.0.0.1:{real.server.port}"
            await bus.join("real", "bus", address=where, metadata={"log": "real"})
            assert (await bus.receive("joined"))["log"] == "real"
            assert world.registry.log_identity.current == "evil"
            await bus.send("ready")
            await bus.receive("ready")
            assert (world.registry.log_identity.current, kept.pop()) == ("real", "real")
            assert ids(world) == {"real"}
            assert (await put(world, "bus", "b1", where, metadata={"log": "evil"}))[0] == 409
    assert [one.partition("\n")[0] for one in kept] == ["evil"]


async def _put_bus(world: World, log: str, peer: str) -> None:
    """Put a bus with this log, which responds."""
    stub = await world.stub(log)
    found = await put(world, "bus", log, f"127.0.0.1:{stub.server.port}", peer, metadata={"log": log})
    assert found[0] == 200


async def test_a_bus_that_is_ready_and_says_its_log_later_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs no second dial-back for that."""
    async with protected(monkeypatch) as world:
        bus = await world.stub("b1")
        where = f"127.0.0.1:{bus.server.port}"
        assert (await put(world, "bus", "b1", where))[0] == 200
        assert world.registry.log_identity.current is None
        assert (await put(world, "bus", "b1", where, metadata={"log": "one"}))[0] == 200
        assert world.registry.log_identity.current == "one"
