"""An instance among others: it binds, joins, is ready, drains, leaves; anything else is a crash."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.errors import SettingsError
from blog.core.instance import State
from blog.core.net.access_control import access_control
from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.net.address import Address
from blog.core.settings import Settings, load
from blog.core.web import problems
from blog.gateway.registry_main import run_registry
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member, _client
from blog.registry.client.client import RegistryClient

TOKEN = "token-of-a-member"


class Place:
    """A registry, a follower, and an app whose requests end when a test says so."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(admin_port=0, data_dir=folder, token=SecretStr(TOKEN))
        self.life = Lifecycle(SystemClock())
        self.may_end = asyncio.Event()
        self.started = asyncio.Event()
        self.http: aiohttp.ClientSession
        self.registry_client: RegistryClient

    def app(self) -> web.Application:
        """Make an app with one slow route and one stream."""
        app = web.Application(middlewares=[problems])
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/stream", self._stream)
        return app

    async def _slow(self, _: web.Request) -> web.Response:
        self.started.set()
        await self.may_end.wait()
        return web.Response(text="done")

    async def _stream(self, _: web.Request) -> web.Response:
        member = await self.life.bound()
        assert isinstance(member, Member)
        with member.streaming():
            self.started.set()
            await member.draining.wait()
        return web.Response(text="ended")

    def joined(self, **options: Any) -> Any:
        """Join as `things`."""
        return Member.join(self.life, self.settings, self.app(), service="things", **options)

    def state(self) -> State | None:
        """Return the state of the one instance of `things`, None when there is none."""
        found = [i for i in self.registry_client.discovery.instances.values() if i.service == "things"]
        return found[0].state if found else None

    async def until(self, state: State | None) -> None:
        """Wait until others see it in this state."""
        async with asyncio.timeout(5):
            await self.registry_client.discovery.wait_until(lambda _: self.state() is state)


@asynccontextmanager
async def a_place(folder: Path) -> AsyncIterator[Place]:
    """Run the registry and follow it."""
    async with AsyncExitStack() as stack:
        place = Place(folder)
        registry = Lifecycle(SystemClock())
        await stack.enter_async_context(background(run_registry(place.settings, registry)))
        url = f"http://{(await registry.bound()).instance.address}"
        place.settings = place.settings.model_copy(update={"registry": (url,)})
        place.http = await stack.enter_async_context(aiohttp.ClientSession())
        place.registry_client = await stack.enter_async_context(
            RegistryClient(
                http=place.http, registries=[url], clock=SystemClock(), follow=["*"], token=TOKEN
            )
        )
        yield place


async def test_it_is_starting_until_it_says_ready(tmp_path: Path) -> None:
    """Others see both; `/readyz` says the same."""
    async with a_place(tmp_path) as place, place.joined() as member:
        await place.until(State.STARTING)
        url = f"http://{member.instance.address}/readyz"
        assert (await place.http.get(url)).status == 503
        await member.ready()
        await place.until(State.READY)
        answer = await place.http.get(url)
        assert (answer.status, answer.headers["Blog-Instance"]) == (200, member.instance.id)


async def test_stopping_finishes_requests_ends_streams_and_leaves(tmp_path: Path) -> None:
    """In this order, and nobody is cut off."""
    async with a_place(tmp_path) as place, place.joined() as member:
        await member.ready()
        async with asyncio.TaskGroup() as group:
            url = f"http://{member.instance.address}"
            stream = group.create_task(fetched(place, f"{url}/stream"))
            await place.started.wait()
            place.started.clear()
            slow = group.create_task(fetched(place, f"{url}/slow"))
            await place.started.wait()
            place.life.stop()
            serving = group.create_task(member.serve_until_stopped())
            await place.until(State.DRAINING)
            assert not stream.done()
            place.may_end.set()
            await serving
        assert (slow.result(), stream.result()) == ("done", "ended")
        await place.until(None)


async def fetched(place: Place, url: str) -> str:
    """Read a page."""
    async with place.http.get(url) as answer:
        return await answer.text()


async def test_ending_without_a_goodbye_is_a_loss_seen_at_once(tmp_path: Path) -> None:
    """The listener closes before the session: the probe that follows is refused."""
    async with a_place(tmp_path) as place:
        async with place.joined() as member:
            await member.ready()
            await place.until(State.READY)
        await place.until(None)


async def test_a_request_for_another_instance_is_not_processed(tmp_path: Path) -> None:
    """421: addresses are reused."""
    async with a_place(tmp_path) as place, place.joined() as member:
        url = f"http://{member.instance.address}/slow"
        async with place.http.get(url, headers={"Blog-Instance": "somebody-else"}) as answer:
            assert answer.status == 421
        assert not place.started.is_set()


async def test_a_taken_port_names_its_setting(tmp_path: Path) -> None:
    """One clear line for whoever started it."""
    async with a_place(tmp_path) as place, place.joined() as member:
        port = int(member.instance.address.rpartition(":")[2])
        with pytest.raises(SettingsError, match=f"BLOG_PORT={port}"):
            async with Member.join(
                Lifecycle(SystemClock()),
                place.settings.model_copy(update={"port": port}),
                web.Application(),
                service="things",
            ):
                pass


async def test_metrics_are_there_for_who_has_the_token(tmp_path: Path) -> None:
    """The room decides what needs the token."""
    async with a_place(tmp_path) as place:
        app = web.Application(
            middlewares=[problems, access_control(AccessPolicy([TOKEN]), lambda _: Access.INTERNAL)]
        )
        async with Member.join(place.life, place.settings, app, service="things") as member:
            url = f"http://{member.instance.address}/metrics"
            assert (await place.http.get(url)).status == 401
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert (await place.http.get(url, headers=headers)).status == 200


async def test_a_registry_with_another_address_under_its_name_is_found_at_once() -> None:
    """A container that was replaced: an answer of the name service that is 10 s old is of no use."""
    looked_up: list[str] = []
    async with _client() as http:
        assert isinstance(http.connector, aiohttp.TCPConnector)

        async def resolve(host: str, port: int = 0, **_: Any) -> list[dict[str, Any]]:
            looked_up.append(address := "127.0.0.2" if len(looked_up) < 3 else "127.0.0.1")
            found = {"hostname": host, "host": address, "port": port, "proto": 0}
            return [found | {"family": socket.AF_INET, "flags": socket.AI_NUMERICHOST}]

        http.connector._resolver.resolve = resolve  # type: ignore[assignment,method-assign]
        async with TestServer(web.Application()) as server:
            for _ in range(3):
                with pytest.raises(aiohttp.ClientConnectorError):
                    await http.get(f"http://gateway:{server.port}/")
            async with http.get(f"http://gateway:{server.port}/") as answer:
                assert answer.status == 404
    assert len(looked_up) == 4


@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
async def test_it_listens_on_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Its address has brackets; others reach it there."""
    monkeypatch.setenv("BLOG_HOST", host)
    async with a_place(tmp_path) as place:
        place.settings = load(Settings, **{**dict(place.settings), "host": Settings().host})
        async with place.joined() as member:
            await member.ready()
            address = Address.parse(member.instance.address)
            assert address.family is socket.AF_INET6
            answer = await place.http.get(address.local.url("/readyz"))
            assert answer.status == 200
