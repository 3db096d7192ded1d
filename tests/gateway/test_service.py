"""A whole gateway, with a real registry in it and real instances behind it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.instance import Route
from blog.core.settings import Settings
from blog.gateway.service import run
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from tests.certificates import write_certificate

TOKEN = "secret"


def settings_in(folder: Path, **options: object) -> Settings:
    """Make settings with free ports."""
    given = {"data_dir": folder, "public_port": 0, "admin_port": 0, "token": SecretStr(TOKEN)}
    return Settings.model_validate(given | options)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[tuple[Lifecycle, Member]]:
    """Run a gateway; give it once it is ready."""
    lifecycle = Lifecycle(SystemClock())
    async with asyncio.timeout(15), background(run(settings, lifecycle)):
        while lifecycle.member is None:
            await asyncio.sleep(0)
        member = lifecycle.member
        await member.discovery.wait_until(lambda table: bool(table.serving("gateway")))
        yield lifecycle, member


async def answer_at_once(_: web.Request) -> web.StreamResponse:
    """Answer."""
    return web.Response(text="thing")


@asynccontextmanager
async def service(
    settings: Settings, registry: str, handler: Handler = answer_at_once
) -> AsyncIterator[Member]:
    """Run an instance with one route; give it once it is ready."""
    app = web.Application()
    app.router.add_get("/things", handler)
    settings = settings.model_copy(update={"registry": (registry,)})
    routes = (Route(method="GET", pattern="/things"),)
    async with Member.join(
        Lifecycle(SystemClock()), settings, app, service="things", routes=routes
    ) as member:
        await member.session.wait_until_joined()
        await member.ready()
        yield member


async def test_an_instance_that_joins_is_served(tmp_path: Path) -> None:
    """From one door to the other; when it crashes, its service is known but not there."""
    settings = settings_in(tmp_path)
    async with gateway(settings) as (_, member), aiohttp.ClientSession() as client:
        url = f"http://{member.instance.metadata['public']}/things"
        table = member.discovery
        async with client.get(url) as answer:
            assert answer.status == 404
        async with service(settings, f"http://{member.instance.address}") as instance:
            await table.wait_until(lambda table: bool(table.serving("things")))
            async with client.get(url) as answer:
                assert (answer.status, await answer.text()) == (200, "thing")
                assert answer.headers["Blog-Served-By"] == f"things/{instance.instance.id}"
        await table.wait_until(lambda table: not table.serving("things"))
        async with client.get(url) as answer:
            assert answer.status == 503


async def test_the_inner_door_needs_the_token(tmp_path: Path) -> None:
    """All but the probes; it lists the routes."""
    async with gateway(settings_in(tmp_path)) as (_, member), aiohttp.ClientSession() as client:
        inner = f"http://{member.instance.address}"
        for path, status in {"/healthz": 200, "/readyz": 200, "/metrics": 401, "/v1/routes": 401}.items():
            async with client.get(inner + path) as answer:
                assert answer.status == status
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with client.get(f"{inner}/v1/routes", headers=headers) as answer:
            assert json.loads(await answer.read()) == {"routes": [], "conflicts": []}
        async with client.get(f"{inner}/metrics", headers=headers) as answer:
            assert "blog_gateway_request_seconds" in await answer.text()


async def test_stopping_drains(tmp_path: Path) -> None:
    """It returns by itself, and both ports are free again."""
    lifecycle = Lifecycle(SystemClock())
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        running = group.create_task(run(settings_in(tmp_path), lifecycle))
        while lifecycle.member is None:
            await asyncio.sleep(0)
        member = lifecycle.member
        await member.discovery.wait_until(lambda table: bool(table.serving("gateway")))
        lifecycle.stop()
        await running
    for address in (member.instance.address, member.instance.metadata["public"]):
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


async def test_draining_finishes_requests_and_ends_streams(tmp_path: Path) -> None:
    """A request in flight gets its answer, an event stream its end."""
    asked, say = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if "live" in request.query:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            await asyncio.Event().wait()
        asked.set()
        await say.wait()
        return web.Response(text="late")

    settings = settings_in(tmp_path)
    async with (
        gateway(settings) as (lifecycle, member),
        aiohttp.ClientSession() as client,
        service(settings, f"http://{member.instance.address}", slow),
        asyncio.TaskGroup() as group,
    ):
        await member.discovery.wait_until(lambda table: bool(table.serving("things")))
        url = f"http://{member.instance.metadata['public']}/things"
        async with client.get(url, params={"live": "1"}) as stream:
            assert await stream.content.readuntil(b"\n\n") == b"data: 1\n\n"
            waiting = group.create_task(client.get(url).__aenter__())
            await asked.wait()
            lifecycle.stop()
            await member.discovery.wait_until(lambda table: not table.serving("gateway"))
            assert not member.draining.is_set()
            say.set()
            assert await (await waiting).text() == "late"
            assert await stream.content.read() == b""


@pytest.mark.parametrize("setting", ["public_port", "admin_port"])
async def test_a_taken_port_names_its_variable(tmp_path: Path, setting: str) -> None:
    """And the number."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"BLOG_{setting.upper()}={port}"):
            await run(settings_in(tmp_path, **{setting: port}), Lifecycle(SystemClock()))


async def test_without_a_registry_of_its_own_it_follows_another(tmp_path: Path) -> None:
    """BLOG_EMBED_REGISTRY=false: the registry is the one that BLOG_REGISTRY names."""
    async with gateway(settings_in(tmp_path)) as (_, first):
        registry = f"http://{first.instance.address}"
        second = settings_in(tmp_path, embed_registry=False, registry=(registry,))
        async with gateway(second) as (_, member):
            await member.discovery.wait_until(lambda table: len(table.serving("gateway")) == 2)


async def test_the_public_door_speaks_tls(tmp_path: Path) -> None:
    """With BLOG_TLS_CERT and BLOG_TLS_KEY; instances hear that it was https."""
    chain, key = write_certificate(tmp_path, "blog.example")

    async def tell(request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.headers["X-Forwarded-Proto"])

    settings = settings_in(tmp_path, tls_cert=chain, tls_key=key)
    async with (
        gateway(settings) as (_, member),
        aiohttp.ClientSession() as client,
        service(settings, f"http://{member.instance.address}", tell),
    ):
        await member.discovery.wait_until(lambda table: bool(table.serving("things")))
        url = f"https://{member.instance.metadata['public']}/things"
        async with client.get(url, ssl=False) as answer:
            assert (answer.status, await answer.text()) == (200, "https")
