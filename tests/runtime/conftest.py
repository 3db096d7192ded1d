"""A registry, a bus, and gardens: instances of a service with a view, and replicas that lie about it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.events import Envelope
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery
from blog.runtime.run import run
from blog.runtime.view import host as view
from blog.runtime.view.transfer import PATH
from tests.bus.conftest import Rig
from tests.runtime.garden import Sown, garden

FAR = 50
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gardens(Rig):
    """What the tests of replicas hold in their hands."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__(folder, stack)
        self.ends: list[AsyncExitStack] = []

    async def sow(self, first: int, last: int) -> None:
        """Append events."""
        now = SystemClock().now()
        await self.client.append(
            [
                Envelope.of(Sown(seed=f"s{n:06}"), id=f"e{n}", service="garden", time=now)
                for n in range(first, last + 1)
            ]
        )

    async def start(self) -> Member:
        """Start an instance of the garden with files of its own, and wait until it is ready."""
        life = Lifecycle(SystemClock())
        stack = AsyncExitStack()
        await stack.enter_async_context(background(run(garden, self.settings(), life)))
        self._stack.push_async_callback(stack.aclose)
        self.ends.append(stack)
        member = await life.bound()
        assert isinstance(member, Member)
        await self.registry_client.discovery.wait_until(lambda table: _is_ready(table, member))
        return member

    async def fake_replica(self, respond: Respond) -> Member:
        """Run a replica that answers as a test says."""
        app = web.Application()
        app.router.add_get(PATH, respond)
        life = Lifecycle(SystemClock())
        joining = Member.join(life, self.settings(), app, service=garden.name)
        member = await self._stack.enter_async_context(joining)
        await member.ready()
        await self.registry_client.discovery.wait_until(lambda table: _is_ready(table, member))
        return member

    def view_file(self, number: int) -> Path:
        """Return the file that the nth instance reads."""
        return self.settings().data_dir / garden.name / f"{number}.db"


def _is_ready(table: Discovery, member: Member) -> bool:
    return member.instance.id in {item.id for item in table.serving(garden.name)}


@pytest.fixture
async def gardens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gardens]:
    """Give a registry and a bus; who is 50 events behind asks a replica."""
    monkeypatch.setattr(view, "SNAPSHOT_THRESHOLD", FAR)
    async with AsyncExitStack() as stack:
        made = Gardens(tmp_path, stack)
        await made.start_registry()
        await made.start_bus()
        yield made
