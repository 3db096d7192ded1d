"""How the starter of an instance talks to it."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from blog.core.clock import SystemClock
from blog.lifecycle.lifecycle import BoundMember, Lifecycle

MEMBER = cast("BoundMember", SimpleNamespace(instance=SimpleNamespace(id="posts-1")))


async def test_it_is_waited_for_until_it_is_bound() -> None:
    """Also by several, before and after."""
    life = Lifecycle(SystemClock())
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(life.bound()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        life.bind(MEMBER)
    assert [task.result() for task in waiting] == [MEMBER, MEMBER]
    assert await life.bound() is MEMBER


async def test_work_is_cancelled_when_it_is_asked_to_stop() -> None:
    """Work that is done before says so; its failure is raised as itself."""
    life = Lifecycle(SystemClock())

    async def fail() -> None:
        raise ValueError("broken")

    assert await life.until_stopping(asyncio.sleep(0))
    with pytest.raises(ValueError, match="broken"):
        await life.until_stopping(fail())
    asyncio.get_running_loop().call_soon(life.stop)
    assert not await life.until_stopping(asyncio.Event().wait())


def test_it_shows_who_runs_in_it() -> None:
    """And whether it stops."""
    life = Lifecycle(SystemClock())
    assert repr(life) == "<Lifecycle of an instance that is not bound>"
    life.bind(MEMBER)
    life.stop()
    assert repr(life) == "<Lifecycle of posts-1, stopping>"
