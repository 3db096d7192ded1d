"""Our clients find hosts by name as aiohttp's do."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from blog.core.net.http_client import client_session
from blog.core.net.http_server import app_runner
from blog.core.net.resolver import LookupResolver


async def test_a_client_finds_a_server_by_name() -> None:
    """By whichever of its addresses responds; a name that is unknown is a failed connection."""
    runner = app_runner(web.Application(), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with asyncio.timeout(20), client_session() as http:
            async with http.get(f"http://localhost:{port}/") as response:
                assert response.status == 404
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get("http://no.such.host.invalid:1/")
    finally:
        await runner.cleanup()


async def test_an_address_is_one_and_keeps_its_port() -> None:
    """In the form that aiohttp connects to."""
    [found] = await LookupResolver().resolve("127.0.0.1", 81)
    assert (found["hostname"], found["host"], found["port"]) == ("127.0.0.1", "127.0.0.1", 81)
