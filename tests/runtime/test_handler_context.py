"""Handler context: any async handler may ask peers, not only pages."""

from types import SimpleNamespace
from typing import cast

import aiohttp
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from blog.core.clock import SystemClock
from blog.core.contract import Peers, Service
from blog.core.errors import Unavailable
from blog.core.net.access_policy import AccessPolicy
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery
from blog.runtime.handler_context import HandlerContext
from blog.runtime.run import calls_peers
from blog.runtime.web import make_app

service = Service("asking")


@service.query("GET", "/asking")
async def ask(peers: Peers) -> dict[str, str]:
    """Ask somebody who is not there."""
    try:
        await peers.query.get("/posts")
    except Unavailable as error:
        return {"said": error.detail}
    return {}


async def test_a_query_may_ask_peers() -> None:
    """It is awaited, and its service follows everybody."""
    assert calls_peers(service)
    assert not calls_peers(Service("alone"))
    context = HandlerContext(service, None)
    async with aiohttp.ClientSession() as http:
        member = SimpleNamespace(
            discovery=Discovery(), http=http, clock=SystemClock(), metrics=CollectorRegistry()
        )
        context.member = cast("Member", member)
        async with TestClient(TestServer(make_app(context, AccessPolicy(), 1024))) as client:
            assert (await client.get("/asking")).status == 503
            context.is_open = True
            response = await client.get("/asking")
            assert await response.json() == {"said": "The service query is not running."}
