"""A registry on its own."""

import asyncio
from pathlib import Path

from blog.core.clock import SystemClock
from blog.core.settings import Settings
from blog.gateway.registry_main import run_registry
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member


async def test_it_is_listed_at_itself_and_stops_when_asked(tmp_path: Path) -> None:
    """Ready like everybody else, then drained."""
    lifecycle = Lifecycle(SystemClock())
    settings = Settings(data_dir=tmp_path, admin_port=0)
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        running = group.create_task(run_registry(settings, lifecycle))
        member = await lifecycle.bound()
        assert isinstance(member, Member)
        while not member.health.is_ready:
            await asyncio.sleep(0)
        async with member.http.get(f"http://{member.instance.address}/readyz") as answer:
            assert answer.status == 200
        lifecycle.stop()
        await running
