"""An instance is there when it responds as itself; its body does not matter. One probe at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from blog.core.clock import SystemClock
from blog.core.instance import Instance
from blog.core.net.http_server import app_runner
from blog.core.web import INSTANCE_HEADER
from blog.registry.server.probe import Prober, ProbeScheduler
from blog.registry.server.transitions import ProbeResult


def instance(address: str) -> Instance:
    """Make the instance that is meant."""
    return Instance(id="x1", service="other", address=address, started_at=SystemClock().now())


@asynccontextmanager
async def responding(status: int = 200, **headers: str) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Run a server whose `/readyz` responds so; give its address and the requests that it got."""
    requests: list[web.Request] = []

    async def readyz(request: web.Request) -> web.Response:
        requests.append(request)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=b"not gzip", headers=named)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    async with AsyncExitStack() as stack:
        runner = app_runner(app, shutdown_timeout=0.05)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", requests


async def test_the_body_of_the_response_does_not_matter() -> None:
    """A foreign instance that compresses everything is alive; nothing of it is decoded."""
    async with responding(Blog_Instance="x1", Content_Encoding="gzip") as (address, requests):
        outcome = await Prober().probe(instance(address), 30.0)
    assert outcome.is_ready
    [request] = requests
    expected = {"Accept-Encoding": "identity", INSTANCE_HEADER: "x1"}
    assert expected.items() <= dict(request.headers).items()
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("status", "headers", "result", "why"),
    [
        (503, {"Blog_Instance": "x1"}, ProbeResult.ANSWERED, "GET /readyz returned 503"),
        (302, {"Blog_Instance": "x1", "Location": "/x"}, ProbeResult.ANSWERED, "returned 302"),
        (200, {"Blog_Instance": "x2"}, ProbeResult.REFUSED, "x2 responds there"),
        (200, {}, ProbeResult.REFUSED, "a program that is no instance responds there"),
        (421, {"Blog_Instance": "x2"}, ProbeResult.REFUSED, "x2"),
        (421, {}, ProbeResult.REFUSED, "another instance"),
    ],
)
async def test_a_response_counts_only_from_the_instance_that_is_meant(
    status: int, headers: dict[str, str], result: ProbeResult, why: str
) -> None:
    """Another one at its address means that it is gone; not ready yet is not gone."""
    async with responding(status, **headers) as (address, _):
        outcome = await Prober().probe(instance(address), 30.0)
    assert (outcome.result, outcome.is_ready) == (result, False)
    assert why in outcome.why


async def test_no_response_is_silence_and_a_closed_port_is_refusal() -> None:
    """A connection that is accepted and broken off proves nothing, and is asked again."""
    connections = 0

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    target = instance(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        silent = await Prober().probe(target, 0.1)
    refused = await Prober().probe(target, 30.0)
    assert (silent.result, silent.why) == (ProbeResult.SILENT, "no response within 0.1 s")
    assert connections > 1
    assert refused.result is ProbeResult.REFUSED


@pytest.mark.parametrize("address", ["a..b:1", ".a:1", f"{'a' * 64}.b:1"])
async def test_an_address_that_no_resolver_accepts_is_refused(address: str) -> None:
    """It fits the pattern of addresses; the probe says what is wrong with it, and never raises."""
    outcome = await Prober().probe(instance(address), 30.0)
    assert (outcome.result, outcome.is_ready) == (ProbeResult.REFUSED, False)
    assert "valid address" in outcome.why


INFORMATION = b"HTTP/1.1 103 Early Hints\r\n\r\n"
AS_US = b"HTTP/1.1 200 OK\r\nBlog-Instance: x1"


@pytest.mark.parametrize(
    ("piece", "result", "why"),
    [
        (INFORMATION, ProbeResult.REFUSED, "no instance"),
        (b"x" * 1000, ProbeResult.REFUSED, "no instance"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProbeResult.REFUSED, "no instance"),
        (b"\x00" * 1000, ProbeResult.REFUSED, "no instance"),
        (AS_US + b"\x1b[2J\r\n\r\n", ProbeResult.REFUSED, "x1 [2J responds there"),
        (AS_US + b"\r\n\r\n" + b"b" * 1000, ProbeResult.ANSWERED, "200"),
        (AS_US.replace(b"200", b"101") + b"\r\n\r\n", ProbeResult.ANSWERED, "101"),
    ],
)
async def test_a_program_that_sends_without_end_is_heard_for_one_head(
    piece: bytes, result: ProbeResult, why: str
) -> None:
    """It costs a few kilobytes; the registry has other things to do."""
    ended = asyncio.Event()

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            ended.set()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        target = instance(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        outcome = await Prober().probe(target, 30.0)
        async with asyncio.timeout(30):
            await ended.wait()
    assert (outcome.result, outcome.is_ready) == (result, why == "200")
    assert why in outcome.why


async def test_a_hundred_reports_are_two_probes() -> None:
    """The one that is under way, and one after it: the first may have started too early."""
    probed, may_end = list[str](), asyncio.Event()

    async def probe(instance_id: str) -> None:
        probed.append(instance_id)
        await may_end.wait()

    async with ProbeScheduler(probe) as scheduler:
        for _ in range(100):
            scheduler.schedule("a")
            await asyncio.sleep(0)
        scheduler.schedule("b")
        may_end.set()
        while repr(scheduler) != "<ProbeScheduler of no instance>":
            await asyncio.sleep(0)
        assert sorted(probed) == ["a", "a", "b"]
        scheduler.schedule("a")
        while repr(scheduler) != "<ProbeScheduler of no instance>":
            await asyncio.sleep(0)
    assert probed.count("a") == 3


async def test_no_probe_starts_after_the_end() -> None:
    """A session may close while the registry is closing."""

    async def probe(_: str) -> None:
        raise AssertionError

    async with ProbeScheduler(probe) as scheduler:
        pass
    scheduler.schedule("a")
