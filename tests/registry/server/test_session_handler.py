"""What may come over a session's socket: nothing compressed, and nothing too long."""

import asyncio
import struct
import zlib
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode

from tests.registry.server.test_service import TOKEN, a_world

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
