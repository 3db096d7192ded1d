"""Peers: the same rotation as everywhere, another instance where one fails, and errors as they were."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.core.errors import (
    BlogError,
    Conflict,
    Invalid,
    Malformed,
    NotFound,
    TooLarge,
    TooMany,
    Unavailable,
)
from blog.core.instance import Instance, State
from blog.core.net.http_client import client_session
from blog.core.web import AFTER_HEADER, AUTHOR_HEADER, IDEMPOTENCY_HEADER, INSTANCE_HEADER
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery
from blog.registry.messages import TableDelta
from blog.runtime import peers
from blog.runtime.peers import MAX_ATTEMPTS, PeerClients


class Rig:
    """Peers in front of real servers that answer what a test says."""

    def __init__(self, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self.requests: list[web.Request] = []
        self.reported: list[str] = []
        self._stack = stack
        self._discovery = Discovery(("*",))
        session = SimpleNamespace(report_unhealthy=lambda id_, _: self.reported.append(id_))
        member = SimpleNamespace(discovery=self._discovery, http=http, registry_client=session)
        self.peers = PeerClients(cast("Member", member), {"X-Request-Id": "r1"})

    async def add(self, id_: str, make: Callable[[], web.Response] | None) -> None:
        """Make an instance of `query` ready that answers so; None: its port is closed."""

        async def handle(request: web.Request) -> web.Response:
            self.requests.append(request)
            assert make is not None
            return make()

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", handle)
        server = TestServer(app)
        await server.start_server()
        address = f"127.0.0.1:{server.port}"
        if make is None:
            await server.close()
        else:
            self._stack.push_async_callback(server.close)
        now = datetime.now(UTC)
        instance = Instance.announce("query", address=address, started_at=now)
        ready = instance.model_copy(update={"id": id_, "state": State.READY})
        self._discovery.apply(TableDelta(version=1, put=(ready,)))

    def who(self) -> list[str]:
        """List the instances that were asked."""
        return [request.headers[INSTANCE_HEADER] for request in self.requests]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Give peers with nobody there yet."""
    async with AsyncExitStack() as stack:
        yield Rig(await stack.enter_async_context(client_session()), stack)


def fine(**more: Any) -> web.Response:
    """Answer with an empty object."""
    return web.json_response({}, **more)


async def test_a_response_comes_back(rig: Rig) -> None:
    """What is asked goes on with the request's id; what is answered comes back with its headers."""
    await rig.add(
        "a", lambda: fine(headers={"Blog-Sequence": "7", "Link": '</posts?before=x>; rel="next"'})
    )
    response = await rig.peers.query.get("/posts", params={"limit": "1"}, after=3)
    assert (response.content, response.sequence, response.next) == ({}, 7, {"before": "x"})
    assert rig.requests[0].path_qs == "/posts?limit=1"
    assert rig.requests[0].headers[AFTER_HEADER] == "3"
    assert rig.requests[0].headers["X-Request-Id"] == "r1"


@pytest.mark.parametrize("broken", [None, 500, 502, 421], ids=str)
async def test_another_instance_is_called(rig: Rig, broken: int | None) -> None:
    """Where one is gone, fails, or is not the one that is meant; writes as well: they have a key."""
    await rig.add("a", (lambda: web.Response(status=broken)) if broken else None)
    await rig.add("b", fine)
    for _ in range(2):
        await rig.peers.query.post("/posts", {"x": 1}, author_token="me", key="k")
    assert rig.who().count("b") == 2
    assert rig.requests[-1].headers[IDEMPOTENCY_HEADER] == "k"
    assert rig.requests[-1].headers[AUTHOR_HEADER] == "me"
    assert set(rig.reported) == ({"a"} if broken in (None, 421) else set())


@pytest.mark.parametrize(
    "odd",
    [
        lambda: web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
        lambda: web.Response(body=b"{}", headers={"Content-Encoding": "x-unknown"}),
        lambda: web.Response(body=b"[" * 100_000),
        lambda: web.Response(body=b"9" * 5000),
        lambda: web.Response(body=b" " * 150_001),
    ],
    ids=["gzip", "unknown coding", "deep", "huge number", "too long"],
)
async def test_another_instance_is_called_where_a_response_cannot_be_read(
    rig: Rig, odd: Callable[[], web.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No coding is opened, nothing endless is read, and alone it counts as one that does not respond."""
    monkeypatch.setattr(peers, "LIMIT", 150_000)
    await rig.add("a", odd)
    with pytest.raises(Unavailable, match="does not respond"):
        await rig.peers.query.get("/posts")
    assert rig.requests[0].headers["Accept-Encoding"] == "identity"
    await rig.add("b", fine)
    for _ in range(2):
        assert (await rig.peers.query.get("/posts")).content == {}


async def test_nobody_there_is_unavailable(rig: Rig) -> None:
    """Nobody known, or nobody who can do it; not more tries than three."""
    with pytest.raises(Unavailable, match="is not running"):
        await rig.peers.query.get("/posts")
    for id_ in "abcde":
        await rig.add(id_, lambda: web.Response(status=500))
    with pytest.raises(Unavailable, match="does not respond"):
        await rig.peers.query.get("/posts")
    assert len(set(rig.who())) == len(rig.who()) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (418, Malformed),
        (422, Invalid),
        (429, TooMany),
        (503, Unavailable),
    ],
)
async def test_problems_are_raised_as_they_were(rig: Rig, status: int, kind: type[BlogError]) -> None:
    """With their detail, their errors, and whether the view was behind."""
    problem = {"detail": "said", "errors": [{"loc": ["title"], "msg": "m"}]}
    stale = {"Blog-Stale": "true"}
    await rig.add("a", lambda: web.json_response(problem, status=status, headers=stale))
    with pytest.raises(kind, match="said") as raised:
        await rig.peers.query.get("/posts/x")
    assert raised.value.extensions == {"is_stale": True, "errors": problem["errors"]}


async def test_who_is_just_coming_is_waited_for(rig: Rig) -> None:
    """The table may be a moment behind; a copy that was killed has a successor soon."""
    await rig.add("gone", None)
    asking = asyncio.ensure_future(rig.peers.query.get("/posts"))
    while not rig.reported:
        await asyncio.sleep(0)
    await rig.add("b", fine)
    assert (await asking).content == {}


async def test_a_response_that_is_no_json_is_none(rig: Rig) -> None:
    """Something else answers there."""
    await rig.add("a", lambda: web.Response(text="<html>"))
    with pytest.raises(Unavailable):
        await rig.peers.query.get("/posts")


async def test_changing_and_deleting_carry_author_and_key(rig: Rig) -> None:
    """As writing does, so that they may be repeated; what is deleted needs no body."""
    await rig.add("gone", lambda: web.Response(status=500))
    await rig.add("a", lambda: web.Response(status=204, headers={"Blog-Sequence": "8"}))
    await rig.peers.query.put("/x", {"a": 1}, author_token="me", key="k1")
    response = await rig.peers.query.delete("/x", params={"sequence": "7"}, author_token="me", key="k2")
    assert (response.content, response.sequence) == (None, 8)
    took = [request for request in rig.requests if request.headers[INSTANCE_HEADER] == "a"]
    assert [(request.method, request.path_qs) for request in took] == [
        ("PUT", "/x"),
        ("DELETE", "/x?sequence=7"),
    ]
    assert [request.headers[IDEMPOTENCY_HEADER] for request in took] == ["k1", "k2"]
    assert {request.headers[AUTHOR_HEADER] for request in took} == {"me"}
