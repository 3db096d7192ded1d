"""A whole gateway, with a real registry in it and real instances behind it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
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
from blog.gateway.known_services import SERVICES, read_services, services_writer
from blog.gateway.service import run
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.client.client import RegistryClient
from blog.registry.server.completeness import RETURN_WITHIN
from tests.certificates import write_certificate

TOKEN = "token-of-a-gateway"


def settings_in(folder: Path, **options: object) -> Settings:
    """Make settings with free ports."""
    given = {"data_dir": folder, "public_port": 0, "admin_port": 0, "token": SecretStr(TOKEN)}
    return Settings.model_validate(given | options)


@asynccontextmanager
async def starting(settings: Settings) -> AsyncIterator[tuple[Lifecycle, Member]]:
    """Run a gateway; give it once others can join, which is before it is ready."""
    lifecycle = Lifecycle(SystemClock())
    async with asyncio.timeout(60), background(run(settings, lifecycle)):
        member = await lifecycle.bound()
        assert isinstance(member, Member)
        yield lifecycle, member


@asynccontextmanager
async def named(settings: Settings, member: Member, **counts: int) -> AsyncIterator[None]:
    """Tell the registry of the gateway `member`, as a master does, whom to wait for."""
    async with RegistryClient(
        http=member.http,
        registries=[f"http://{member.instance.address}"],
        clock=SystemClock(),
        token=settings.secret,
        expected=lambda: counts,
    ) as registry_client:
        await registry_client.wait_until_joined()
        yield


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[tuple[Lifecycle, Member]]:
    """Run a gateway that has nobody to wait for; give it once it is ready."""
    async with starting(settings) as (lifecycle, member):
        embeds = settings.embed_registry
        async with named(settings, member) if embeds else nullcontext():
            await member.discovery.wait_until(
                lambda table: any(one.id == member.instance.id for one in table.serving("gateway"))
            )
        yield lifecycle, member


async def answer_at_once(_: web.Request) -> web.StreamResponse:
    """Answer."""
    return web.Response(text="thing")


@asynccontextmanager
async def service(
    settings: Settings,
    registry: str,
    handler: Handler = answer_at_once,
    name: str = "things",
    method: str = "GET",
) -> AsyncIterator[Member]:
    """Run an instance with one route, `/` and its name; give it once it is ready."""
    app = web.Application()
    app.router.add_route(method, f"/{name}", handler)
    settings = settings.model_copy(update={"registry": (registry,)})
    routes = (Route(method=method, pattern=f"/{name}"),)
    async with Member.join(
        Lifecycle(SystemClock()), settings, app, service=name, routes=routes
    ) as member:
        await member.registry_client.wait_until_joined()
        await member.ready()
        yield member


async def test_an_instance_that_joins_is_served(tmp_path: Path) -> None:
    """From the admin API to the public port; when it crashes, its service is known but not there."""
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
        admin = f"http://{member.instance.address}"
        for path, status in {"/healthz": 200, "/readyz": 200, "/metrics": 401, "/v1/routes": 401}.items():
            async with client.get(admin + path) as answer:
                assert answer.status == status
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with client.get(f"{admin}/v1/routes", headers=headers) as answer:
            assert json.loads(await answer.read()) == {"routes": [], "conflicts": []}
        async with client.get(f"{admin}/metrics", headers=headers) as answer:
            assert "blog_gateway_request_seconds" in await answer.text()


async def test_stopping_drains(tmp_path: Path) -> None:
    """It returns by itself, and both ports are free again."""
    lifecycle = Lifecycle(SystemClock())
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        running = group.create_task(run(settings_in(tmp_path), lifecycle))
        member = await lifecycle.bound()
        assert isinstance(member, Member)
        async with named(settings_in(tmp_path), member):
            await member.discovery.wait_until(lambda table: bool(table.serving("gateway")))
        lifecycle.stop()
        await running
    for address in (member.instance.address, member.instance.metadata["public"]):
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


async def test_draining_finishes_requests_and_ends_streams(tmp_path: Path) -> None:
    """A request in flight gets its answer, an event stream its end."""
    received, say = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if "live" in request.query:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            await asyncio.Event().wait()
        received.set()
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
            await received.wait()
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


Target = tuple[str, str]


async def statuses(
    client: aiohttp.ClientSession, member: Member, *targets: Target, origin: str = ""
) -> dict[Target, int]:
    """Ask the public port of `member`; each 503 has to say when to come again."""
    url = f"http://{member.instance.metadata['public']}"
    found: dict[Target, int] = {}
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"} if origin else {}
    for method, path in targets:
        async with client.request(method, url + path, headers=headers) as answer:
            found[method, path] = answer.status
            assert answer.status != 503 or int(answer.headers["Retry-After"]) >= 1
    return found


async def is_ready(client: aiohttp.ClientSession, member: Member) -> bool:
    """Ask as Kubernetes does."""
    async with client.get(f"http://{member.instance.address}/readyz") as answer:
        return answer.status == 200


async def wait_until_open(client: aiohttp.ClientSession, member: Member) -> None:
    """Wait until the public port answers."""
    while True:
        try:
            await statuses(client, member, ("GET", "/"))
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.01)
        else:
            return


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by_memory", [True, False])
async def test_what_is_not_known_yet_is_never_said_not_to_exist(
    tmp_path: Path, workers: int, *, by_memory: bool
) -> None:
    """Until everybody is there who was before, or whom the master starts: 503, and not ready.

    What is known is served at once; then 404 and 405 are true, and the gateway is ready.
    """
    unknown: list[Target] = [("GET", "/others"), ("POST", "/nowhere"), ("PUT", "/things"), ("HEAD", "/")]
    site = "https://site.example"
    settings = settings_in(tmp_path, workers=workers, cors_origins=site)
    names = {"things": 1, "others": 1}
    if by_memory:
        services_writer(tmp_path / "gateway" / SERVICES)(names)
    async with (
        starting(settings) as (_, member),
        aiohttp.ClientSession() as client,
        nullcontext() if by_memory else named(settings, member, **names),
    ):
        registry = f"http://{member.instance.address}"
        await wait_until_open(client, member)
        assert set((await statuses(client, member, *unknown, ("GET", "/things"))).values()) == {503}
        async with service(settings, registry):
            while (await statuses(client, member, ("GET", "/things")))["GET", "/things"] != 200:
                await asyncio.sleep(0.01)
            assert set((await statuses(client, member, *unknown)).values()) == {503}
            assert set((await statuses(client, member, ("GET", "/openapi.json"))).values()) == {503}
            preflight = ("OPTIONS", "/things")
            assert await statuses(client, member, preflight, origin=site) == {preflight: 503}
            assert not await is_ready(client, member)
            async with service(settings, registry, name="others"):
                while not await is_ready(client, member):
                    await asyncio.sleep(0.01)
                while (await statuses(client, member, ("GET", "/nowhere")))["GET", "/nowhere"] != 404:
                    assert workers > 1  # they hear of it a moment later
                    await asyncio.sleep(0.01)
                found = await statuses(client, member, *unknown, ("GET", "/openapi.json"))
                assert list(found.values()) == [200, 404, 405, 404, 200]
                assert await statuses(client, member, preflight, origin=site) == {preflight: 204}


async def test_a_gateway_alone_waits_for_five_seconds(tmp_path: Path) -> None:
    """Nobody has named anybody: then nobody is missing."""
    async with starting(settings_in(tmp_path)) as (_, member), aiohttp.ClientSession() as client:
        await wait_until_open(client, member)
        began = member.clock.monotonic()
        assert await statuses(client, member, ("GET", "/")) == {("GET", "/"): 503}
        await member.discovery.wait_until(lambda table: table.is_complete)
        assert member.clock.monotonic() - began > RETURN_WITHIN / 2
        assert await statuses(client, member, ("GET", "/")) == {("GET", "/"): 404}


async def test_who_was_there_is_waited_for_after_a_restart(tmp_path: Path) -> None:
    """A blog that was stopped, one instance after the other, is known by name when it comes back."""
    settings = settings_in(tmp_path)
    path = tmp_path / "gateway" / SERVICES
    async with gateway(settings) as (_, member), service(settings, f"http://{member.instance.address}"):
        while "things" not in read_services(path):
            await asyncio.sleep(0.01)
    async with starting(settings) as (_, member), aiohttp.ClientSession() as client:
        await wait_until_open(client, member)
        assert await statuses(client, member, ("GET", "/things")) == {("GET", "/things"): 503}
        async with service(settings, f"http://{member.instance.address}"):
            while not await is_ready(client, member):
                await asyncio.sleep(0.01)
            assert await statuses(client, member, ("GET", "/things")) == {("GET", "/things"): 200}
