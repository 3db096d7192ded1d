"""Registry and sessions together, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.core.clock import Clock, SystemClock
from blog.core.instance import Instance, State
from blog.core.net.access_policy import AccessPolicy
from blog.core.web import INSTANCE_HEADER
from blog.registry.app import registry_app
from blog.registry.client.client import RegistryClient
from blog.registry.messages import Heartbeat, parse_from_registry
from blog.registry.server.completeness import GIVE_UP_AFTER, RETURN_WITHIN
from blog.registry.server.service import Registry
from blog.registry.server.session import MAX_MISSED_HEARTBEATS
from blog.registry.server.transitions import RemovalCause
from tests.fakes import FakeClock

TOKEN = "token-of-a-registry"


class StubInstance:
    """A port that answers as an instance does, and can be closed."""

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.status = 200
        app = web.Application()
        app.router.add_get("/readyz", self._readyz)
        self.server = TestServer(app)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, headers={INSTANCE_HEADER: self.instance_id})


def an_instance(id_: str, service: str = "posts") -> Instance:
    """Give an instance as it announces itself."""
    return Instance(id=id_, service=service, address="127.0.0.1:1", started_at=SystemClock().now())


class World:
    """A registry, and sessions that are opened with it."""

    def __init__(self, stack: AsyncExitStack, registry: Registry, url: str) -> None:
        self.registry = registry
        self.url = url
        self._stack = stack
        self.http: aiohttp.ClientSession

    async def stub(self, instance_id: str) -> StubInstance:
        """Open a port for an instance."""
        stub = StubInstance(instance_id)
        await stub.server.start_server()
        self._stack.push_async_callback(stub.server.close)
        return stub

    def registry_client(
        self, stub: StubInstance | None, service: str = "posts", **options: Any
    ) -> RegistryClient:
        """Make the session of the instance behind `stub`."""
        instance = None
        if stub is not None:
            instance = Instance(
                id=stub.instance_id,
                service=service,
                address=f"0.0.0.0:{stub.server.port}",
                started_at=SystemClock().now(),
                metadata=options.pop("metadata", {}),
            )
        return RegistryClient(
            http=self.http,
            registries=options.pop("registries", [self.url]),
            clock=SystemClock(),
            instance=instance,
            token=TOKEN,
            **options,
        )

    async def open(
        self, stub: StubInstance | None, service: str = "posts", **options: Any
    ) -> RegistryClient:
        """Open a session until the end of the test."""
        registry_client = await self._stack.enter_async_context(
            self.registry_client(stub, service, **options)
        )
        await registry_client.wait_until_joined()
        return registry_client


@asynccontextmanager
async def running(
    port: int = 0,
    clock: Clock | None = None,
    policy: AccessPolicy | None = None,
    host: str = "127.0.0.1",
    **known: Any,
) -> AsyncIterator[tuple[Registry, str]]:
    """Run a registry; give it and its URL."""
    policy = policy or AccessPolicy([TOKEN])
    async with Registry(clock=clock or SystemClock(), policy=policy, **known) as registry:
        server = TestServer(registry_app(registry), host=host, port=port)
        await server.start_server(shutdown_timeout=0.05)
        try:
            yield registry, str(server.make_url("/"))
        finally:
            await server.close()


@asynccontextmanager
async def a_world(
    clock: Clock | None = None, policy: AccessPolicy | None = None, **known: Any
) -> AsyncIterator[World]:
    """Run a registry on a free port; `known` is what it kept from before."""
    async with AsyncExitStack() as stack:
        registry, url = await stack.enter_async_context(running(0, clock, policy, **known))
        world = World(stack, registry, url)
        world.http = await stack.enter_async_context(aiohttp.ClientSession())
        yield world


async def seen(registry_client: RegistryClient, predicate: Callable[[dict[str, State]], bool]) -> None:
    """Wait until the table that `registry_client` follows looks like that."""
    async with asyncio.timeout(5):
        await registry_client.discovery.wait_until(
            lambda table: predicate({item.id: item.state for item in table.instances.values()})
        )


async def test_an_instance_joins_is_dialled_back_and_seen_by_followers() -> None:
    """Starting first, ready after the dial-back, at the address that the registry sees."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        stub = await world.stub("p1")
        registry_client = await world.open(stub)
        await seen(follower, lambda table: table == {"p1": State.STARTING})
        async with asyncio.timeout(5):
            await registry_client.ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        assert follower.discovery.instances["p1"].address == f"127.0.0.1:{stub.server.port}"


async def test_a_follower_hears_only_of_what_it_asked_for() -> None:
    """And a latecomer gets the whole table at once."""
    async with a_world() as world:
        for id_, service in (("p1", "posts"), ("c1", "comments")):
            await world.open(await world.stub(id_), service)
        everything = await world.open(None, follow=["*"])
        posts = await world.open(None, follow=["posts"])
        await seen(everything, lambda table: set(table) == {"p1", "c1"})
        await seen(posts, lambda table: set(table) == {"p1"})


async def test_an_address_that_does_not_answer_is_refused_with_the_reason() -> None:
    """The instance is told which address was tried; once it answers, it is ready."""
    async with a_world() as world:
        stub = await world.stub("p1")
        stub.status = 503
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with world.http.ws_connect(f"{world.url}v1/session", headers=headers) as socket:
            instance = world.registry_client(stub).instance
            assert instance is not None
            address = f"127.0.0.1:{stub.server.port}"
            instance = instance.model_copy(update={"address": address})
            await socket.send_json({"type": "join", "instance": instance.model_dump(mode="json")})
            await socket.send_json({"type": "ready"})
            received = [parse_from_registry(await socket.receive_str(timeout=5)) for _ in range(3)]
            assert [message.type for message in received] == ["joined", "snapshot", "refused"]
            assert received[2].model_dump()["tried"] == address
            assert "503" in received[2].model_dump()["why"]
            stub.status = 200
            await socket.send_json({"type": "ready"})
            assert parse_from_registry(await socket.receive_str(timeout=5)).type == "ready"


async def test_somebody_else_at_the_address_does_not_count() -> None:
    """Addresses are reused: only the same instance id is an answer."""
    async with a_world() as world:
        stub = await world.stub("p1")
        registry_client = await world.open(stub)
        stub.instance_id = "p2"
        world.registry.membership.admit("p1")
        registry_client.report_unhealthy("p1", "test")
        follower = await world.open(None, follow=["posts"])
        await seen(follower, lambda table: table == {})


async def test_a_closed_socket_with_a_refused_probe_is_lost_at_once() -> None:
    """A killed process: long before any beat is missed."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        stub = await world.stub("p1")
        async with world.registry_client(stub) as registry_client:
            await registry_client.ready()
            await seen(follower, lambda table: table == {"p1": State.READY})
            await stub.server.close()
            closed = asyncio.get_running_loop().time()
        await seen(follower, lambda table: table == {})
        assert asyncio.get_running_loop().time() - closed < 1.0


async def test_a_closed_socket_with_an_answered_probe_is_not_lost() -> None:
    """The connection broke, the instance did not: it comes back by itself."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        for session in list(world.registry.publisher.sessions):
            if session.instance_id == "p1":
                await session.socket.close()
        joined = asyncio.Event()
        registry_client.discovery.on_change(joined.set)
        async with asyncio.timeout(5):
            await joined.wait()
        await seen(follower, lambda table: table == {"p1": State.READY})


async def test_a_lost_one_that_speaks_again_joins_again() -> None:
    """Stopped for longer than 10 s, its socket still open: it is sent away, and comes back by itself."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        registry_client.pause()
        world.registry.membership.remove("p1", RemovalCause.SILENT)
        world.registry.schedule_delta()
        await seen(follower, lambda table: table == {})
        registry_client.resume()
        await seen(follower, lambda table: table == {"p1": State.READY})


async def test_an_evicted_instance_that_lives_comes_back() -> None:
    """Its session is closed, and joining again is up to it."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        version, joins = follower.discovery.version, world.registry.membership.joins
        world.registry.evict("p1")
        assert world.registry.membership.get("p1") is None
        # its removal and its return may come in one delta
        await seen(
            follower,
            lambda table: follower.discovery.version > version and table == {"p1": State.READY},
        )
        assert world.registry.membership.joins == joins + 1


async def test_a_follower_that_is_silent_for_long_is_given_up() -> None:
    """A machine without power acknowledges nothing: no drain waits for it for ever."""
    async with a_world() as world:
        await world.open(None, follow=["posts"])
        [session] = world.registry.publisher.sessions
        for _ in range(MAX_MISSED_HEARTBEATS + 1):
            session.send_keep_alive()
        async with asyncio.timeout(5):
            while session in world.registry.publisher.sessions:
                await asyncio.sleep(0.01)


async def test_a_drain_is_acknowledged_by_every_follower() -> None:
    """As long as one of them does not know, the instance waits."""
    async with a_world() as world:
        slow = await world.open(None, follow=["posts"])
        await world.open(None, follow=["*"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        await seen(slow, lambda table: table == {"p1": State.READY})
        slow.pause()
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(registry_client.drain())
            _, pending = await asyncio.wait([draining], timeout=0.5)
            assert pending
            slow.resume()
        assert slow.discovery.instances["p1"].state is State.DRAINING


async def test_a_storm_of_beats_makes_nobody_else_suspect() -> None:
    """One that beats as fast as it can; the registry reads the others all the same."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        quiet = await world.open(await world.stub("p1"))
        storm = await world.open(await world.stub("p2"))
        for registry_client in (quiet, storm):
            await registry_client.ready()
        await seen(follower, lambda table: set(table.values()) == {State.READY} and len(table) == 2)
        states = set[State]()
        follower.discovery.on_change(
            lambda: states.update(one.state for one in follower.discovery.instances.values())
        )
        version = world.registry.publisher.version
        [connection] = storm._connections.values()
        for _ in range(20_000):
            connection.send(Heartbeat())
        async with asyncio.timeout(30):
            await connection.wait_until_sent()
        await quiet.drain()
        assert states <= {State.READY, State.DRAINING}
        assert world.registry.publisher.version == version + 1


async def test_leaving_is_seen_as_leaving() -> None:
    """No probe."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        await registry_client.leave()
        await seen(follower, lambda table: table == {})


async def test_a_drain_returns_once_the_followers_know() -> None:
    """Then no follower selects the instance any more."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        await registry_client.ready()
        began = asyncio.get_running_loop().time()
        await registry_client.drain()
        assert follower.discovery.instances["p1"].state is State.DRAINING
        assert asyncio.get_running_loop().time() - began < 1.4


async def test_a_drain_does_not_wait_for_ever_for_a_stuck_follower() -> None:
    """1.5 s, then the instance goes on with its own end."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        registry_client = await world.open(await world.stub("p1"))
        follower.pause()
        async with asyncio.timeout(5):
            await registry_client.drain()


async def test_a_bus_with_another_log_is_told_and_not_taken_in() -> None:
    """Never two logs."""
    async with a_world() as world:
        first = await world.open(await world.stub("b1"), "bus", metadata={"log": "one"})
        await first.ready()
        other = await world.open(await world.stub("b2"), "bus", metadata={"log": "two"})
        assert (first.discovery.log, other.discovery.log) == ("one", "one")
        assert world.registry.membership.get("b2") is None


async def test_of_two_buses_the_first_that_is_ready_decides() -> None:
    """Each joins, and is told its own log until then; the other one is turned away."""
    async with a_world() as world:
        one = await world.open(await world.stub("b1"), "bus", metadata={"log": "one"})
        two = await world.open(await world.stub("b2"), "bus", metadata={"log": "two"})
        assert (one.discovery.log, two.discovery.log) == ("one", "two")
        assert world.registry.log_identity.current is None
        async with asyncio.timeout(10):
            await two.ready()
            await one.discovery.wait_until(lambda _: list(one.logs.values()) == ["two"])
        assert {row.id for row in world.registry.membership.instances} == {"b2"}
        assert world.registry.log_identity.current == "two"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"type":"join","instance":{}}'])
async def test_what_cannot_be_understood_closes_the_session_with_a_reason(text: str) -> None:
    """And nothing else happens to the registry."""
    async with a_world() as world:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with world.http.ws_connect(f"{world.url}v1/session", headers=headers) as socket:
            await socket.send_str(text)
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
            assert message.extra


@pytest.mark.parametrize("token", [None, "", "secreT", "secret2", "\u0160ecret"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_without_the_token_nothing_is_told(token: str | None, method: str) -> None:
    """Joins, beats, reads and removals, over sessions and REST alike."""
    async with a_world() as world:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        paths = ("services", "session", "watch", "prometheus", "services/x", "services/x/instances/y")
        for path in paths:
            async with world.http.request(method, f"{world.url}v1/{path}", headers=headers) as response:
                assert response.status == 401
                assert response.content_type == "application/problem+json"


class SetClock(SystemClock):
    """The wall clock of a machine whose time somebody sets."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """Tell the wrong time."""
        return super().now() + self.ahead


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_wall_clock_that_jumps_ends_nobody(days: int) -> None:
    """How long somebody was silent is told by a clock that nobody sets; who comes later is welcome."""
    clock = SetClock()
    async with a_world(clock) as world:
        follower = await world.open(None, follow=["*"])
        first = await world.open(await world.stub("first"))
        await first.ready()
        await seen(follower, lambda table: table == {"first": State.READY})
        changes: list[dict[str, State]] = []
        follower.discovery.on_change(
            lambda: changes.append({one.id: one.state for one in follower.discovery.instances.values()})
        )
        clock.ahead = timedelta(days=days)
        world.registry.membership.expire(world.registry.now())
        second = await world.open(await world.stub("second"))
        await second.ready()
        await seen(follower, lambda table: table == {"first": State.READY, "second": State.READY})
        assert {table["first"] for table in changes} == {State.READY}


async def test_a_registry_that_has_just_started_is_not_complete() -> None:
    """It says so with the table; after 5 s without a word of who belongs here it is."""
    clock = FakeClock(1000.0)
    async with a_world(clock) as world:
        follower = await world.open(None, follow=["*"])
        await (await world.open(await world.stub("p1"))).ready()
        await seen(follower, lambda table: table == {"p1": State.READY})
        assert not follower.discovery.is_complete
        clock.advance(RETURN_WITHIN)
        async with asyncio.timeout(5):
            await follower.discovery.wait_until(lambda table: table.is_complete)


async def test_a_master_says_who_has_to_be_ready() -> None:
    """When those are ready the table is complete, and late followers hear it at once."""
    async with a_world(FakeClock(1000.0)) as world:
        master = await world.open(None, follow=["*"], expected=lambda: {"posts": 1, "gateway": 1})
        posts = await world.open(await world.stub("p1"))
        await seen(master, lambda table: table == {"p1": State.STARTING})
        assert not master.discovery.is_complete
        await posts.ready()
        late = await world.open(None, follow=["posts"])
        async with asyncio.timeout(5):
            for follower in (master, late):
                await follower.discovery.wait_until(lambda table: table.is_complete)


async def test_a_master_says_again_whom_to_wait_for() -> None:
    """A service that cannot run keeps nobody waiting once the master has given it up."""
    async with a_world(FakeClock(1000.0)) as world:
        wanted = {"posts": 1, "broken": 1}
        master = await world.open(None, follow=["*"], expected=lambda: wanted)
        await (await world.open(await world.stub("p1"))).ready()
        await seen(master, lambda table: table == {"p1": State.READY})
        assert not master.discovery.is_complete
        wanted["broken"] = 0
        master.send_expected()
        async with asyncio.timeout(5):
            await master.discovery.wait_until(lambda table: table.is_complete)


async def test_who_was_there_is_remembered_and_the_rest_forgotten_once_it_is_complete() -> None:
    """What was known before counts until then; who is stopped is remembered for a while."""
    remembered: list[dict[str, int]] = []
    clock = FakeClock(1000.0)
    registry = Registry(
        clock=clock,
        policy=AccessPolicy(),
        known_services={"posts": 1, "comments": 1},
        remember_services=lambda counts: remembered.append(dict(counts)),
    )

    async def looks(times: int) -> None:
        async with asyncio.timeout(5):
            count = len(remembered)
            while len(remembered) < count + times:
                await asyncio.sleep(0.01)

    async with registry:
        assert remembered == []
        clock.advance(GIVE_UP_AFTER)
        registry.membership.join(an_instance("p1"), clock.monotonic())
        registry.membership.admit("p1")
        await looks(1)
        registry.membership.remove("p1", RemovalCause.LEFT)
        registry.schedule_delta()
        await looks(2)
    assert remembered == [{"posts": 1}] * len(remembered)
