"""An instance is there when it answers as itself; what its body looks like is not asked."""

from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from blog.core.clock import SystemClock
from blog.core.instance import Instance
from blog.core.net.http_server import app_runner
from blog.core.web import INSTANCE_HEADER
from blog.registry.server.probe import Prober
from blog.registry.server.transitions import ProbeResult


def instance(address: str) -> Instance:
    """Make the instance that is meant."""
    return Instance(id="x1", service="other", address=address, started_at=SystemClock().now())


async def test_how_a_probe_is_answered_does_not_matter() -> None:
    """A foreign instance that compresses everything is alive; nothing of it is opened."""
    asked: list[str] = []

    async def readyz(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=b"not gzip", headers={"Content-Encoding": "gzip", INSTANCE_HEADER: "x1"})

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    async with AsyncExitStack() as stack:
        runner = app_runner(app, shutdown_timeout=0.05)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        prober = await stack.enter_async_context(Prober.open(None))
        answer = await prober.dial(instance(f"127.0.0.1:{runner.addresses[0][1]}"), 30.0)
    assert answer.is_ready
    assert asked == ["identity"]


@pytest.mark.parametrize("address", ["a..b:1", ".a:1", f"{'a' * 64}.b:1"])
async def test_an_address_that_no_resolver_takes_is_refused(address: str) -> None:
    """It fits the pattern of addresses; the probe says what is wrong with it, and never raises."""
    async with Prober.open(None) as prober:
        answer = await prober.dial(instance(address), 30.0)
    assert (answer.result, answer.is_ready) == (ProbeResult.REFUSED, False)
    assert "valid address" in answer.why
