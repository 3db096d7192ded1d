"""What draining waits for: all work, but neither probes nor the registry's sockets."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from blog.lifecycle.health_endpoints import HealthEndpoints


@pytest.mark.parametrize(
    ("path", "counted"),
    [("/posts", 1), ("/v1/operator", 1), ("/v1/operator/delete", 1), ("/v1/session", 0)],
)
async def test_draining_waits_for_what_operators_do(path: str, counted: int) -> None:
    """It stands below the registry's paths, and is work like any other."""
    health = HealthEndpoints("posts-1", CollectorRegistry())
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def work(_: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get(path, work)
    health.install(app)
    async with TestClient(TestServer(app)) as client:
        answer = asyncio.ensure_future(client.get(path))
        await asked.wait()
        assert health.requests.count == counted
        go_on.set()
        assert (await answer).status == 200
    assert health.requests.count == 0
