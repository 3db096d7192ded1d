"""One instance and several registries: each may die, restart, fall silent or be cut off."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.instance import Instance, State
from blog.core.net.address import Address
from blog.core.net.http_client import client_session
from blog.registry.client import client as sessions
from blog.registry.client import connection as connections
from blog.registry.client.client import RegistryClient
from blog.registry.client.connection import RegistryConnection
from blog.registry.client.reconnecting import reconnect_delay
from blog.registry.messages import PROTOCOL_VERSION, Joined
from blog.registry.server.service import Registry
from tests.fakes import FakeClock
from tests.registry.server.test_service import TOKEN, World, a_world, running, seen
from tests.registry.test_reading import ROW

READY = {"p1": State.READY}


async def pair(
    stack: AsyncExitStack, world: World
) -> tuple[AsyncExitStack, RegistryClient, RegistryClient]:
    """Open a second registry; give what ends it, an instance at both and a follower of both."""
    second = AsyncExitStack()
    stack.push_async_callback(second.aclose)
    _, url = await second.enter_async_context(running())
    both = [world.url, url]
    follower = await world.open(None, follow=["posts"], registries=both)
    registry_client = await world.open(await world.stub("p1"), registries=both)
    await registry_client.ready()
    await seen(follower, lambda table: table == READY)
    await registry_client.wait_until_tried()
    async with asyncio.timeout(5):
        while (
            not all(connection.is_acknowledged for connection in registry_client._connections.values())
            or len(registry_client._connections) < 2
        ):
            await asyncio.sleep(0.01)
    return second, registry_client, follower


async def test_an_instance_is_at_each_of_them() -> None:
    """Independent sessions; one that is not there keeps nobody waiting."""
    async with a_world() as world, running() as (other, url):
        stub = await world.stub("p1")
        registry_client = await world.open(stub, registries=[world.url, url, "http://127.0.0.1:9"])
        await registry_client.ready()
        async with asyncio.timeout(5):
            await registry_client.wait_until_tried()
            while not (world.registry.membership.get("p1") and other.membership.get("p1")):
                await asyncio.sleep(0.01)


async def test_one_of_two_dies_and_nobody_notices() -> None:
    """The other one knows; and what happens from then on comes from it."""
    async with a_world() as world, AsyncExitStack() as stack:
        second, registry_client, follower = await pair(stack, world)
        states = list[dict[str, State]]()
        follower.discovery.on_change(
            lambda: states.append({one.id: one.state for one in follower.discovery.instances.values()})
        )
        await second.aclose()
        async with asyncio.timeout(5):
            while len(follower._connections) > 1:
                await asyncio.sleep(0.01)
        assert all(state == READY for state in states)
        async with asyncio.timeout(5):
            await registry_client.drain()
        await seen(follower, lambda table: table == {"p1": State.DRAINING})
        await registry_client.leave()
        await seen(follower, lambda table: table == {})


async def test_all_registries_die_and_the_table_stays() -> None:
    """The last good list; when one is there again, with another epoch, it is taken over."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world())
        first = AsyncExitStack()
        _, url = await first.enter_async_context(running())
        follower = await world.open(None, follow=["posts"], registries=[url])
        registry_client = await world.open(await world.stub("p1"), registries=[url])
        await registry_client.ready()
        await seen(follower, lambda table: table == READY)
        before, states = follower.discovery.epoch, list[dict[str, State]]()
        follower.discovery.on_change(
            lambda: states.append({one.id: one.state for one in follower.discovery.instances.values()})
        )
        await first.aclose()
        async with asyncio.timeout(5):
            while follower._connections or registry_client._connections:
                await asyncio.sleep(0.01)
        assert set(follower.discovery.instances) == {"p1"}
        await stack.enter_async_context(running(int(url.rstrip("/").rpartition(":")[2])))
        async with asyncio.timeout(5):
            await follower.discovery.wait_until(lambda table: table.epoch != before)
        await seen(follower, lambda table: table == READY)
        async with asyncio.timeout(5):
            while not registry_client._connections or not all(
                connection.is_acknowledged for connection in registry_client._connections.values()
            ):
                await asyncio.sleep(0.01)
        assert all(state == READY for state in states)


async def test_a_registry_that_does_not_speak_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine lost power, or it was stopped: the socket is open, and says nothing any more."""
    monkeypatch.setattr(sessions, "HEARTBEAT_INTERVAL", 0.02)

    async def mute(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.05)
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/v1/session", mute)
    server = TestServer(app)
    await server.start_server()
    async with aiohttp.ClientSession() as http:
        url = str(server.make_url("/"))
        follower = RegistryClient(
            http=http, registries=[url], clock=SystemClock(), follow=["*"], token=TOKEN
        )
        async with follower, asyncio.timeout(5):
            while not follower._connections:
                await asyncio.sleep(0.001)
            [connection] = follower._connections.values()
            while connection in follower._connections.values():
                await asyncio.sleep(0.001)
            assert connection._missed_heartbeats == connections.MAX_MISSED_HEARTBEATS + 1
    await server.close()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xc1\x7f" + (5).to_bytes(8, "big") + b"\xcaH\xcd\xc9\xc9", 1002),  # nobody agreed on it
        (b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), 1009),
    ],
    ids=["compressed", "too long"],
)
async def test_a_registry_that_says_too_much_is_left_and_tried_again(frame: bytes, code: int) -> None:
    """No message is kept that could take all memory: the follower says why, and comes back."""
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def flood(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.05)
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(frame)
        async for _ in socket:
            pass
        codes.put_nowait(socket.close_code)
        return socket

    app = web.Application()
    app.router.add_get("/v1/session", flood)
    server = TestServer(app)
    await server.start_server()
    async with client_session() as http:
        url = str(server.make_url("/"))
        follower = RegistryClient(
            http=http, registries=[url], clock=SystemClock(), follow=["*"], token=TOKEN
        )
        async with follower, asyncio.timeout(30):
            assert [await codes.get() for _ in range(3)] == [code] * 3
    await server.close()


async def test_a_registry_with_nothing_to_tell_still_speaks() -> None:
    """Every second: a follower of a quiet blog keeps its socket."""
    async with a_world() as world:
        follower = await world.open(None, follow=["posts"])
        [connection] = follower._connections.values()
        for session in world.registry.publisher.sessions:
            session.send_keep_alive()
        connection._missed_heartbeats = connections.MAX_MISSED_HEARTBEATS
        async with asyncio.timeout(5):
            while connection._missed_heartbeats:
                await asyncio.sleep(0.01)
        assert list(follower._connections.values()) == [connection]


async def test_an_instance_is_back_as_soon_as_its_registry_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a million failures as after the first one: refused, or with a name that leads nowhere."""
    delays: list[float] = []

    def counted(failures: int) -> float:
        delays.append(delay := reconnect_delay(failures + 10**6))
        return min(delay, 0.001)

    monkeypatch.setattr(sessions, "reconnect_delay", counted)
    async with AsyncExitStack() as stack:
        async with running() as (_, url):
            port = int(url.rstrip("/").rpartition(":")[2])
        http = await stack.enter_async_context(aiohttp.ClientSession())
        follower = RegistryClient(
            http=http,
            registries=[f"http://127.0.0.1:{port}", "http://no-such-name.invalid:4000"],
            clock=SystemClock(),
            follow=["*"],
            token=TOKEN,
        )
        await stack.enter_async_context(follower)
        async with asyncio.timeout(30):
            while len(delays) < 20:
                await asyncio.sleep(0)
            await stack.enter_async_context(running(port))
            await follower.wait_until_joined()
    assert max(delays) <= 0.6


async def test_joining_again_on_a_session_does_not_begin_it_anew() -> None:
    """A session that held has held, whatever was said on it just before its end."""
    clock = FakeClock()
    async with aiohttp.ClientSession() as http:
        client = RegistryClient(http=http, registries=["http://r"], clock=clock)
        connection = RegistryConnection("http://r", cast("aiohttp.ClientWebSocketResponse", None))
        client._on_joined(connection, Joined(epoch="e"))
        clock.advance(100)
        client._on_joined(connection, Joined(epoch="e"))
    client._failures["http://r"].count = 25
    assert client._failures["http://r"].ended(clock.monotonic()) == 1


@pytest.mark.parametrize(("held_after", "expected"), [(5.0, [1, 2, 3, 4]), (1e-9, [1, 1, 1, 1])])
async def test_only_a_session_that_held_resets_the_back_off(
    monkeypatch: pytest.MonkeyPatch, held_after: float, expected: list[int]
) -> None:
    """A registry that accepts every session and breaks it off at once is not called in a tight loop."""
    counts: asyncio.Queue[int] = asyncio.Queue()

    def counted(failures: int) -> float:
        counts.put_nowait(failures)
        return 0.0

    monkeypatch.setattr(sessions, "reconnect_delay", counted)
    monkeypatch.setattr(sessions, "_HELD_AFTER", held_after)

    async def accept(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.05)
        await socket.prepare(request)
        await socket.send_str(Joined(epoch="e").to_json())
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/v1/session", accept)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        url = str(server.make_url("/"))
        follower = RegistryClient(http=http, registries=[url], clock=SystemClock(), follow=["*"])
        async with follower, asyncio.timeout(30):
            assert [await counts.get() for _ in range(4)] == expected


def told(registry: Registry, instance_id: str = "p1") -> str | None:
    """Return the host that a registry was told, None while it was told nothing."""
    instance = registry.membership.get(instance_id)
    return None if instance is None else Address.parse(instance.address).host


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_first", [True, False])
async def test_each_registry_is_told_the_address_on_the_way_to_it(*, is_first: bool) -> None:
    """And stays with it; what the instance calls its own is that of the first one."""
    async with a_world() as world, running(host="::1") as (six, url):
        both = [world.url, url] if is_first else [url, world.url]
        client = await world.open(await world.stub("p1"), registries=both, expected=lambda: {"posts": 1})
        await until(lambda: (told(world.registry), told(six)) == ("127.0.0.1", "::1"))
        await until(lambda: all(one.is_joined for one in client._connections.values()))
        client.send_expected()  # they are told again
        assert client.instance is not None
        assert Address.parse(client.instance.address).host == ("127.0.0.1" if is_first else "::1")
        client.reached_at("10.9.9.9")  # of both, the local end is loopback
        await until(lambda: told(world.registry) == told(six) == "10.9.9.9")


async def test_an_address_that_is_better_known_later_is_dialled_anew() -> None:
    """The first guess led nowhere; then the instance is ready, as it asked to be."""
    async with a_world() as world:
        client = await world.open(await world.stub("p1"), elsewhere="127.1.2.3")
        ready = asyncio.create_task(client.ready())
        await until(lambda: told(world.registry) == "127.1.2.3")
        client.reached_at("127.0.0.1")
        async with asyncio.timeout(5):
            await ready
        assert told(world.registry) == "127.0.0.1"
        client.reached_at("127.1.2.3")
        await until(lambda: told(world.registry) == "127.1.2.3")
        instance = world.registry.membership.get("p1")
        assert instance is not None
        assert instance.state is State.STARTING  # until it was dialled there, which fails


async def test_what_is_advertised_is_told_to_all_whatever_is_found() -> None:
    """It was set because nothing else works."""
    async with a_world() as world, running(host="::1") as (six, url):
        stub = await world.stub("p1")
        client = await world.open(
            stub, registries=[world.url, url], advertise="blog.example:80", elsewhere="10.1.1.1"
        )
        await until(lambda: told(world.registry) == told(six) == "blog.example")
        client.reached_at("10.9.9.9")
        assert client.instance is not None
        assert client.instance.address == "blog.example:80"


async def test_a_connection_that_is_gone_at_once_is_tried_again() -> None:
    """Its local end cannot be told any more; that is no reason to end."""
    gone = cast("aiohttp.ClientWebSocketResponse", Gone())
    with pytest.raises(ConnectionError):
        _ = RegistryConnection("http://a", gone).local_host


class Gone:
    """A socket whose connection is lost."""

    def get_extra_info(self, _: str, default: object = None) -> object:
        """Know nothing."""
        return default


@asynccontextmanager
async def registry_of_a_later_version(
    *frames: str | bytes, close: tuple[int, bytes] | None = None
) -> AsyncIterator[tuple[RegistryClient, list[dict[str, Any]]]]:
    """Run a registry that sends these; give a follower of it, and what that sends."""
    received: list[dict[str, Any]] = []

    async def speak(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.05)
        await socket.prepare(request)
        for frame in frames:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        if close is not None:
            await socket.close(code=close[0], message=close[1])
        async for message in socket:
            received.append(json.loads(message.data))  # noqa: PERF401 - it is read meanwhile
        return socket

    app = web.Application()
    app.router.add_get("/v1/session", speak)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        url = str(server.make_url("/"))
        instance = Instance.model_validate(ROW | {"id": "me"})
        client = RegistryClient(
            http=http, registries=[url], clock=SystemClock(), instance=instance, follow=["*"]
        )
        async with client, asyncio.timeout(10):
            yield client, received


async def test_a_registry_of_a_later_version_is_followed_as_far_as_it_is_understood() -> None:
    """What it says that is new, and rows that cannot be read, end neither the session nor the table."""
    snapshot = {"type": "snapshot", "epoch": "e", "version": 4, "complete": True}
    rows = [ROW, ROW | {"id": "p2"}, ROW | {"id": "p3", "state": "warming"}, {"id": 7}, None]
    messages = [
        {"type": "welcome", "x": 1},
        {"type": "joined", "epoch": 9, "protocol": 9, "features": ["all"]},
        snapshot | {"instances": rows},
        {"type": "ready", "until": "noon"},
        {"type": "refused", "tried": 5},
        {"type": "delta", "version": "5", "put": [ROW | {"id": "p2", "state": "frozen"}]},
        {"type": "delta", "version": 6, "gone": [{"id": "p9", "why": "moved"}], "moved": []},
    ]
    frames: list[str | bytes] = [json.dumps(message) for message in messages]
    with capture_logs() as logged:
        async with registry_of_a_later_version(b"\x00", "nope", *frames) as (client, received):
            await client.ready()
            await client.discovery.wait_until(lambda table: table.version == 6)
            assert set(client.discovery.instances) == {"p1"}
            assert client.discovery.is_complete
            while not any(message["type"] == "beat" for message in received):
                await asyncio.sleep(0.01)
            [connection] = client._connections.values()
            assert "protocol 9" in repr(connection)
    [join] = [message for message in received if message["type"] == "join"]
    assert join["protocol"] == PROTOCOL_VERSION
    acked = [message["version"] for message in received if message["type"] == "ack"]
    assert acked == [4, 5, 6]
    said = [(one["event"], one["type"], one["field"]) for one in logged if "protocol" in one]
    assert said == [
        ("message.skipped", "binary", None),
        ("message.skipped", "invalid", None),
        ("message.skipped", "welcome", None),
        ("field.unreadable", "joined", "epoch"),
        ("row.unreadable", "snapshot", "state"),
        ("row.unreadable", "snapshot", "id"),
        ("row.unreadable", "snapshot", None),
        ("field.unreadable", "refused", "tried"),
        ("row.unreadable", "delta", "state"),
    ]


@pytest.mark.parametrize("code", [1008, 1013])  # for good, and for now: the id is taken, say
async def test_why_a_registry_rejects_what_it_gets_is_said_once(code: int) -> None:
    """In its words, and not again with each of the tries that follow."""
    reason = "join.instance.address: it is nowhere\x1b[2J"
    with capture_logs() as logged:
        async with registry_of_a_later_version(close=(code, reason.encode())) as (client, _):
            failures = client._failures[client._registries[0]]
            while failures.count < 3:
                await asyncio.sleep(0.01)
    said = [one["reason"] for one in logged if one["event"] == "registry.rejected"]
    assert said == ["join.instance.address: it is nowhere [2J"]
