"""A bus on a real socket, with a registry, and instances that react as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from blog.bus.service import run
from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.events import Envelope
from blog.core.reactions import PATH, DeliveryRequest
from blog.core.settings import Settings
from blog.core.web import bearer, problems
from blog.eventlog.client import EventLogClient
from blog.gateway.registry_main import run_registry
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.client.client import RegistryClient

TOKEN = "token-of-the-bus"
Reacted = dict[str, Any] | web.Response
React = Callable[[DeliveryRequest], Reacted | Awaitable[Reacted]]


class Rig:
    """What the tests of the bus hold in their hands."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.http: aiohttp.ClientSession
        self.registry_client: RegistryClient
        self.client: EventLogClient
        self.registry: str
        self.bus: Lifecycle
        self.folder = folder
        self._stack = stack
        self._running: list[AsyncExitStack] = []

    @property
    def url(self) -> str:
        """Where the bus is."""
        [instance] = self.registry_client.discovery.serving("bus")
        return f"http://{instance.address}"

    def settings(self, folder: str = "data") -> Settings:
        """Give the settings of an instance."""
        return Settings(
            registry=(self.registry,) if hasattr(self, "registry") else ("http://127.0.0.1:1",),
            admin_port=0,
            data_dir=self.folder / folder,
            token=SecretStr(TOKEN),
        )

    async def start_registry(self) -> None:
        """Start a registry, and follow it."""
        life = Lifecycle(SystemClock())
        await self._stack.enter_async_context(background(run_registry(self.settings(), life)))
        async with asyncio.timeout(5):
            member = await life.bound()
        self.registry = f"http://{member.instance.address}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        registry_client = RegistryClient(
            http=self.http, registries=[self.registry], clock=SystemClock(), follow=["*"], token=TOKEN
        )
        self.registry_client = await self._stack.enter_async_context(registry_client)
        self.client = await self._stack.enter_async_context(
            EventLogClient(self.registry_client.discovery, self.http, SystemClock(), TOKEN)
        )

    async def start_bus(self, folder: str = "data") -> None:
        """Start a bus and wait until it is ready."""
        self.bus = Lifecycle(SystemClock())
        stack = AsyncExitStack()
        await stack.enter_async_context(background(run(self.settings(folder), self.bus)))
        self._stack.push_async_callback(stack.aclose)
        self._running.append(stack)
        await self.registry_client.discovery.wait_until(lambda table: bool(table.serving("bus")))

    async def crash_bus(self) -> None:
        """End the bus without a goodbye."""
        assert self.bus.member is not None
        self.bus.member.crash()
        await self._running.pop().aclose()
        await self.registry_client.discovery.wait_until(lambda table: not table.serving("bus"))

    async def reactor(
        self, service: str, types: list[str], react: React, *, is_ready: bool = True
    ) -> Member:
        """Run an instance of `service` that responds to deliveries with what `react` returns."""

        async def handle(request: web.Request) -> web.Response:
            response = react(DeliveryRequest.model_validate_json(await request.read()))
            if not isinstance(response, dict | web.Response):
                response = await response
            return response if isinstance(response, web.Response) else web.json_response(response)

        app = web.Application(middlewares=[problems])
        app.router.add_post(PATH, handle)
        member = await self._stack.enter_async_context(
            Member.join(
                Lifecycle(SystemClock()),
                self.settings(),
                app,
                service=service,
                reactions=tuple(types),
            )
        )
        if is_ready:
            await member.ready()
        return member

    async def send(
        self, body: bytes | str, content_type: str = "application/cloudevents-batch+json", **query: str
    ) -> tuple[int, Any]:
        """Post to `/events`; return status and response."""
        headers = {"Content-Type": content_type, **bearer(TOKEN)}
        async with self.http.post(
            f"{self.url}/events", data=body, headers=headers, params=query
        ) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str) -> Any:
        """Read JSON from the bus."""
        async with self.http.get(self.url + path, headers=bearer(TOKEN)) as response:
            return await response.json(content_type=None)

    async def events(self, **query: str) -> list[Envelope]:
        """Read the log."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return [Envelope.model_validate(item) for item in await self.get(f"/events?{text}")]


async def hang_up(member: Member) -> None:
    """Close the port of an instance that does not leave."""
    for site in member._runner.sites:
        await site.stop()
    for _ in range(10):  # a connection that was just accepted is to be closed as well
        await asyncio.sleep(0)
    await member._runner.cleanup()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a registry and a bus."""
    async with AsyncExitStack() as stack:
        made = Rig(tmp_path, stack)
        await made.start_registry()
        await made.start_bus()
        yield made
