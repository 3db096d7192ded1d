"""Work beside a body, and work that nobody waits for."""

import asyncio

import pytest
from structlog.testing import capture_logs

from blog.core.background import TaskSupervisor, background, first_of


async def test_a_failure_beside_the_body_ends_it() -> None:
    """As itself, not as a group of one."""

    async def fail() -> None:
        raise ValueError("beside")

    with pytest.raises(ValueError, match="beside"):
        async with background(fail()):
            await asyncio.Event().wait()


async def test_the_end_of_the_body_is_the_end_of_what_is_beside() -> None:
    """Cancelled, and waited for."""
    ended: list[str] = []

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("beside")

    async with background(go_on()):
        await asyncio.sleep(0)
    assert ended == ["beside"]


async def test_the_first_that_is_done_ends_the_others() -> None:
    """They are cancelled; a failure is raised as itself."""
    ended: list[str] = []

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def fail() -> None:
        raise ValueError("first")

    await first_of(go_on(), asyncio.sleep(0))
    with pytest.raises(ValueError, match="first"):
        await first_of(go_on(), fail())
    assert ended == ["other", "other"]


async def test_a_supervisor_ends_with_its_context() -> None:
    """Whatever is left is cancelled; nothing is left."""
    tasks = TaskSupervisor("test")
    async with tasks:
        tasks.start(asyncio.sleep(3600))
        tasks.start(asyncio.sleep(0))
        assert len(tasks) == 2
        while len(tasks) > 1:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert repr(tasks) == "<TaskSupervisor test: 0>"


async def test_a_failure_of_a_supervised_task_is_logged_and_ends_nothing_else() -> None:
    """Nobody waits for it, so the log is where it is seen."""

    async def fail() -> None:
        raise ValueError("short")

    with capture_logs() as logged:
        async with TaskSupervisor("test") as tasks:
            tasks.start(asyncio.sleep(3600))
            tasks.start(fail())
            while len(tasks) > 1:
                await asyncio.sleep(0)
            assert len(tasks) == 1
    assert [(line["event"], line["task"]) for line in logged] == [("task.failed", "test")]
