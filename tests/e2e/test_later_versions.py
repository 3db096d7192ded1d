"""A blog goes on beside an instance of a version that is later than all that there are."""

import asyncio
import json
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.core.instance import State
from blog.core.web import INSTANCE_HEADER, bearer
from blog.testing.harness import RunningBlog

ID = "things-1"


async def things(request: web.Request) -> web.Response:
    """Answer as that instance; reactions with an outcome that nobody knows."""
    headers = {INSTANCE_HEADER: ID}
    if request.path != "/reactions":
        return web.Response(text="thing", headers=headers)
    events = (await request.json())["events"]
    results = [{"id": event["id"], "outcome": "deferred", "until": "noon"} for event in events]
    return web.json_response({"results": results, "took": 1}, headers=headers)


async def test_a_blog_serves_beside_an_instance_of_a_later_version(blog: RunningBlog) -> None:
    """Its requests and its messages are understood as far as possible; nobody else notices anything."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", things)
    async with (
        asyncio.timeout(40),
        TestServer(app, host="127.0.0.1") as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{blog.registry_url}/v1/session", headers=bearer(blog.token)) as socket,
    ):
        row: dict[str, Any] = {
            "id": ID,
            "service": "things",
            "address": f"127.0.0.1:{server.port}",
            "state": "warming",
            "started_at": "2026-01-01T00:00:00Z",
            "routes": [
                {"method": "GET", "pattern": "/things", "cache": {"seconds": 5}},
                {"method": "any", "pattern": "/posts"},
            ],
            "reactions": ["blog.PostCreated", {"type": "blog.CommentCreated", "version": 2}],
            "load": {"in_flight": "few"},
            "metadata": {"pid": 1, "turn": "by-the-moon"},
            "zone": "north",
        }
        await socket.send_json({"type": "hello", "features": ["all"]})
        await socket.send_json({"type": "join", "protocol": 99, "instance": row, "follow": ["*", 7]})
        await socket.send_json({"type": "ready"})
        await asyncio.wait_for(heard(socket, "ready"), 10)
        await socket.send_json({"type": "beat", "load": "low"})
        await socket.send_json({"type": "weather", "is": "fine"})
        while await status(http, f"{blog.url}/things") != 200:
            await asyncio.sleep(0.02)
        async with http.post(f"{blog.url}/posts", json={"title": "Hello"}) as response:
            assert response.status == 201
            post = (await response.json())["id"]
        async with http.post(f"{blog.url}/posts/{post}/comments", json={"content": "x"}) as response:
            assert response.status == 201
        while "approved" not in await text(http, f"{blog.url}/posts/{post}/comments"):
            await asyncio.sleep(0.02)
        [lag] = [one for one in await subscriptions(http, blog) if one["name"] == "things"]
        assert lag["waiting"] >= 1, "what it could not say is tried again"
        [victim] = blog.instances("comments")
        blog.kill(victim.id)
        await blog.wait_until(
            lambda one: (
                victim.id not in {item.id for item in one.instances("comments", State.READY)}
                and len(one.instances("comments", State.READY)) == 1
            )
        )
        while await status(http, f"{blog.url}/posts/{post}/comments") != 200:
            await asyncio.sleep(0.02)
        await socket.send_json({"type": "leave"})
        while await status(http, f"{blog.url}/things") == 200:
            await asyncio.sleep(0.02)


async def heard(socket: aiohttp.ClientWebSocketResponse, type_: str) -> None:
    """Wait for a message of that type."""
    while json.loads(await socket.receive_str())["type"] != type_:
        pass


async def status(http: aiohttp.ClientSession, url: str) -> int:
    """Return the status of a response."""
    async with http.get(url) as response:
        return response.status


async def text(http: aiohttp.ClientSession, url: str) -> str:
    """Return the body of a response."""
    async with http.get(url) as response:
        return await response.text()


async def subscriptions(http: aiohttp.ClientSession, blog: RunningBlog) -> list[dict[str, Any]]:
    """Ask the bus what is yet to be reacted to."""
    [bus] = blog.instances("bus")
    url = f"http://{bus.address}/subscriptions"
    async with http.get(url, headers=bearer(blog.token)) as response:
        rows: list[dict[str, Any]] = await response.json()
        return rows
