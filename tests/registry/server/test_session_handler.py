"""What may come over a session's socket: nothing compressed, nothing too long, and later versions."""

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode
from structlog.testing import capture_logs

from blog.core.instance import Load, State
from blog.registry.messages import PROTOCOL_VERSION
from tests.registry.server.strangers import STRANGER, protected, raw_session
from tests.registry.server.test_service import TOKEN, World, a_world

COMPRESSED, WHOLE, MASKED = (
    0x40,
    0x81,
    0x80,
)  # RSV1 (RFC 7692 §6), the only frame of a text, from a client


def masked(payload: bytes, bits: int = 0) -> bytes:
    """Write a client's frame with a mask of zeros (RFC 6455 §5.2)."""
    return struct.pack("!BBQ", WHOLE | bits, MASKED | 127, len(payload)) + bytes(4) + payload


def bomb() -> bytes:
    """Compress 1 MB of zeros as a message of a session would be: small enough to be read at once."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (masked(bomb(), COMPRESSED), WSCloseCode.PROTOCOL_ERROR),
        (struct.pack("!BBQ", WHOLE, MASKED | 127, 1 << 40) + bytes(4), WSCloseCode.MESSAGE_TOO_BIG),
        (masked(b"[" * 100_000), WSCloseCode.POLICY_VIOLATION),
        (masked(b'{"type": "beat", "load": {"in_flight": ' + b"9" * 5000 + b"}}"), 1008),
        (masked(b'{"type": "join", "follow": ["\\ud800"]}'), WSCloseCode.POLICY_VIOLATION),
    ],
    ids=["compressed", "too long", "deep", "huge number", "surrogate"],
)
async def test_what_cannot_be_read_ends_this_session_only(frame: bytes, code: int) -> None:
    """Nothing was agreed on that could compress; the socket closes, and other sessions go on."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with a_world() as world:
        other = await world.open(await world.stub("p1"))
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{world.url}v1/session", headers=headers, compress=15) as socket,
        ):
            assert socket.compress == 0
            connection: Any = socket._response.connection
            connection.transport.write(frame)
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert socket.close_code == code
        await other.ready()


async def test_the_registry_learns_where_instances_reach_it() -> None:
    """The local end of the session of an instance; a follower may come from anywhere."""
    async with a_world() as world:
        reached: list[str] = []
        world.registry.on_reached = reached.append
        await world.open(None, follow=["posts"])
        assert not reached
        await world.open(await world.stub("p1"))
        assert reached == ["127.0.0.1"]


async def test_where_strangers_reach_it_counts_once_they_are_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever can open a connection could else say at which address the registry is."""
    async with protected(monkeypatch) as world, raw_session(world, STRANGER) as session:
        reached: list[str] = []
        world.registry.on_reached = reached.append
        stub = await world.stub("p1")
        await session.join("p1", address="127.0.0.1:1")
        await session.send("ready")
        await session.receive("refused")
        assert not reached
        await session.join("p1", address=f"127.0.0.1:{stub.server.port}")
        await session.send("ready")
        await session.receive("ready")
        assert reached == ["127.0.0.1"]


Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def speaking(world: World) -> AsyncIterator[Socket]:
    """Open a session as a program that is not ours."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        asyncio.timeout(10),
        world.http.ws_connect(f"{world.url}v1/session", headers=headers) as socket,
    ):
        yield socket


async def heard(socket: Socket, type_: str) -> dict[str, Any]:
    """Return the next message of that type."""
    while True:
        message: dict[str, Any] = json.loads(await socket.receive_str())
        if message["type"] == type_:
            return message


def a_row(address: str = "127.0.0.1:1", **more: Any) -> dict[str, Any]:
    """Give the row of an instance of a later version."""
    row = {"id": "p1", "service": "posts", "address": address, "started_at": "2026-01-01T00:00:00Z"}
    return row | {"state": "warming", "zone": "north"} | more


async def test_an_instance_of_a_later_version_is_served_like_any_other() -> None:
    """It joins, is dialled, beats and leaves, whatever else it says in between."""
    async with a_world() as world, speaking(world) as socket:
        stub = await world.stub("p1")
        routes = [{"method": "GET", "pattern": "/a"}, {"method": "any", "pattern": "/b"}]
        row = a_row(f"127.0.0.1:{stub.server.port}", routes=routes)
        membership = world.registry.membership
        with capture_logs() as logged:
            await socket.send_json({"type": "hello", "protocol": 9})
            await socket.send_json({"type": "join", "protocol": 9, "instance": row, "follow": ["*"]})
            joined = await heard(socket, "joined")
            assert joined["protocol"] == PROTOCOL_VERSION
            await socket.send_bytes(b"\x00")
            await socket.send_json({"type": "ready", "because": [1]})
            await heard(socket, "ready")
            await socket.send_json({"type": "beat", "load": {"in_flight": 4}})
            for _ in range(3):
                await socket.send_json({"type": "beat", "load": "low"})
                await socket.send_json({"type": "capabilities", "all": True})
            await socket.send_json({"type": "drain"})
            await heard(socket, "drained")
        known = membership.get("p1")
        assert known is not None
        assert (known.state, known.load) == (State.DRAINING, Load(in_flight=4))
        assert [route.pattern for route in known.routes] == ["/a"]
        said = [(one["event"], one["type"], one["field"]) for one in logged if "protocol" in one]
        assert said == [
            ("message.skipped", "hello", None),
            ("row.unreadable", "join", "state"),
            ("row.unreadable", "join", "routes"),
            ("message.skipped", "binary", None),
            ("field.unreadable", "beat", "load"),
            ("message.skipped", "capabilities", None),
        ]
        [session] = world.registry.publisher.sessions
        assert "with p1, protocol 9" in repr(session)
        await socket.send_json({"type": "leave"})
        while not (await heard(socket, "delta")).get("gone"):
            pass


async def test_what_is_skipped_is_a_sign_of_life() -> None:
    """An instance that only sends what is not understood is there all the same."""
    async with a_world() as world, speaking(world) as socket:
        await socket.send_json({"type": "join", "follow": ["*"]})
        await heard(socket, "snapshot")
        [session] = world.registry.publisher.sessions
        for _ in range(8):
            session.send_keep_alive()
        await socket.send_json({"type": "pulse"})
        async with asyncio.timeout(5):
            while session._missed_heartbeats > 2:
                await asyncio.sleep(0.01)


async def test_a_joiner_that_cannot_be_read_is_told_why_and_it_is_said() -> None:
    """With the field; the reason is whole characters, however long it is."""
    async with a_world() as world, speaking(world) as socket:
        with capture_logs() as logged:
            await socket.send_json({"type": "join", "instance": a_row("nowhere")})
            message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
        assert message.extra is not None
        assert message.extra.startswith("join.instance.address: ")
        [line] = [one for one in logged if one["event"] == "request.refused"]
        assert line["reason"].startswith("join.instance.address: ")
    async with a_world() as world, speaking(world) as socket:
        await socket.send_json({"type": "join"})
        await heard(socket, "snapshot")
        [session] = world.registry.publisher.sessions
        closing = asyncio.create_task(session.close("\u00e9" * 200))
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        await closing
        assert message.extra == "\u00e9" * 61
