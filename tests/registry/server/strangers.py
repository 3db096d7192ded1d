"""Strangers: joiners in protected mode that connect, as far as the registry knows, from elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from blog.core.net.access_policy import AccessPolicy
from blog.core.net.peer import peer_of
from blog.registry.server import dial_target, rest, session_handler
from tests.registry.server.test_service import World, a_world

PEER = "Test-Peer"
STRANGER, OTHER, HERE = "10.0.0.8", "10.0.0.9", "127.0.0.1"
NOW = "2026-01-01T00:00:00Z"


@asynccontextmanager
async def protected(monkeypatch: pytest.MonkeyPatch, **known: Any) -> AsyncIterator[World]:
    """Run a registry without a token; who sends `Test-Peer` connects from there.

    Strangers may announce this machine's loopback, since nothing else is certain to be there.
    """

    def peer(request: web.Request) -> str:
        return request.headers.get(PEER, peer_of(request))

    monkeypatch.setattr(session_handler, "peer_of", peer)
    monkeypatch.setattr(rest, "peer_of", peer)
    monkeypatch.setattr(dial_target, "may_dial", lambda host, _: host.is_loopback)
    async with a_world(policy=AccessPolicy(), **known) as world:
        yield world


class RawSession:
    """A session whose every message the test writes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def join(self, id_: str, service: str = "posts", **others: Any) -> None:
        """Send a join; `key`, `known` and `expects` are the message's, all else is the instance's."""
        of_message = {name: others.pop(name) for name in ("key", "known", "expects") if name in others}
        row = {"id": id_, "service": service, "address": "127.0.0.1:1", "started_at": NOW, **others}
        await self.send("join", instance=row, **of_message)

    async def send(self, kind: str, **fields: Any) -> None:
        """Send any message."""
        await self.socket.send_json({"type": kind, **fields})

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these kinds; one of kind "closed" has `code` and `why`."""
        while True:
            frame = await self.socket.receive(timeout=10)
            if frame.type is not aiohttp.WSMsgType.TEXT:
                message = {"type": "closed", "code": self.socket.close_code, "why": frame.extra}
            else:
                message = frame.json()
            if message["type"] in kinds:
                return message
            assert message["type"] != "closed", message


@asynccontextmanager
async def raw_session(world: World, peer: str = HERE, **headers: str) -> AsyncIterator[RawSession]:
    """Open a session from there."""
    async with world.http.ws_connect(
        f"{world.url}v1/session", headers={PEER: peer, **headers}, autoclose=True
    ) as socket:
        yield RawSession(socket)


async def put(
    world: World, service: str, id_: str, address: str | None, peer: str = HERE, **others: Any
) -> tuple[int, Any]:
    """Put a lease from there, or renew it without an address; return the status and the body."""
    body = None if address is None else {"address": address, **others}
    path = f"v1/services/{service}/instances/{id_}"
    return await ask(world, "PUT", path, peer, **({} if body is None else {"json": body}))


async def ask(world: World, method: str, path: str, peer: str = HERE, **options: Any) -> tuple[int, Any]:
    """Call the registry from there; return status and body."""
    async with world.http.request(method, world.url + path, headers={PEER: peer}, **options) as response:
        return response.status, await response.json() if response.status != 204 else None
