"""One instance of a service from its start on: ready only when its view has caught up."""

import asyncio

import pytest

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.contract import Service
from blog.core.instance import State
from blog.eventlog.client import EventBatch
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.runtime.run import followed, run
from blog.runtime.view.store import ApplyStep, ViewStore
from tests.runtime.conftest import Gardens
from tests.runtime.garden import garden


async def status(rig: Gardens, member: Member, path: str) -> int:
    """Ask the instance itself."""
    async with rig.http.get(f"http://{member.instance.address}{path}") as response:
        return response.status


async def test_an_instance_is_ready_only_when_it_has_caught_up(
    gardens: Gardens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is `starting`: nobody sends it anything, and who asks all the same is told so."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    real = ViewStore.apply

    async def apply(store: ViewStore, batch: EventBatch, start: int = 0, *, budget: float) -> ApplyStep:
        asked.set()
        await go_on.wait()
        return await real(store, batch, start, budget=budget)

    monkeypatch.setattr(ViewStore, "apply", apply)
    await gardens.sow(1, 10)
    life = Lifecycle(SystemClock())
    async with background(run(garden, gardens.settings(), life)):
        await asked.wait()
        member = await life.bound()
        assert isinstance(member, Member)
        id_ = member.instance.id
        await gardens.registry_client.discovery.wait_until(lambda table: id_ in table.instances)
        known = gardens.registry_client.discovery.instances[id_]
        assert known.state is State.STARTING
        assert [await status(gardens, member, path) for path in ("/readyz", "/seeds")] == [503, 503]
        go_on.set()
        await gardens.registry_client.discovery.wait_until(lambda table: bool(table.serving(garden.name)))
        assert [await status(gardens, member, path) for path in ("/readyz", "/seeds")] == [200, 200]


def test_who_has_a_view_follows_its_replicas() -> None:
    """They may have a snapshot; nobody else is asked anything."""
    assert followed(garden) == ("bus", "garden")
    assert followed(Service("alone")) == ("bus",)
