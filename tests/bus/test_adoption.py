"""A log is adopted by each registry once: those that are there, and those that come later."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
from structlog.testing import capture_logs

from blog.bus.adoption import LogAdoption
from blog.core.background import background
from blog.core.net.address import Address
from tests.registry.client.test_log_adoption import answering
from tests.registry.server.test_service import TOKEN, a_world, running


async def test_every_registry_adopts_it() -> None:
    """One is enough to go on; one that starts later is asked too."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(a_world(known_log="one"))
        async with running() as (_, url):
            later = url.rstrip("/")
        adoption = LogAdoption("two", [first.url.rstrip("/"), later], TOKEN)
        await stack.enter_async_context(background(adoption.run(first.http)))
        async with asyncio.timeout(10):
            assert await adoption.is_accepted()
        assert first.registry.log_identity.current == "two"
        port = Address.parse(later.removeprefix("http://")).port
        second, _ = await stack.enter_async_context(running(port, None, None, known_log="one"))
        async with asyncio.timeout(20):
            while second.log_identity.current != "two":
                await asyncio.sleep(0.01)


async def test_registries_that_cannot_are_said_once() -> None:
    """An older one never will: the bus goes on by the rules of before."""
    async with answering(404, "{}") as url, aiohttp.ClientSession() as http:
        adoption = LogAdoption("two", [url], TOKEN)
        with capture_logs() as logs:
            await asyncio.wait_for(adoption.run(http), 10)
        assert not await adoption.is_accepted()
    [line] = logs
    assert line["event"] == "log.not_adopted"
    assert "upgrade" in line["next"]


async def test_a_refusal_is_said_once_with_the_command() -> None:
    """An operator runs it where the registry is; the bus waits for that."""
    async with a_world(known_log="one") as world:
        adoption = LogAdoption("two", [world.url.rstrip("/")], "a-token-that-is-wrong")
        with capture_logs() as logs:
            async with background(adoption.run(world.http)):
                async with asyncio.timeout(10):
                    while not logs:
                        await asyncio.sleep(0.01)
        [line] = [line for line in logs if line["event"] == "log.not_adopted"]
        assert "blog log adopt two" in line["next"]
        assert repr(adoption).endswith("waits for " + world.url.rstrip("/") + ">")


async def test_without_adopt_nobody_is_asked() -> None:
    """And the usual check decides."""
    adoption = LogAdoption("two", (), None)
    assert not await adoption.is_accepted()
