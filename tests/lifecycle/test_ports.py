"""Where an instance listens."""

import socket

import pytest
from aiohttp import web

from blog.core.errors import SettingsError
from blog.core.net.address import Address
from blog.core.net.http_server import app_runner
from blog.lifecycle.ports import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_a_bound_port_has_an_address_and_a_taken_one_names_its_setting(host: str) -> None:
    """With IPv6 in brackets, in both."""
    runner = app_runner(web.Application(), shutdown_timeout=0.05)
    await runner.setup()
    try:
        where = Address.parse(await listen(runner, host, "BLOG_PORT", 0))
        assert where.host == host
        with socket.socket(where.family) as client:
            client.connect(where.local)
        with pytest.raises(SettingsError) as caught:
            await listen(runner, host, "BLOG_PORT", where.port)
        assert f"BLOG_PORT={where.port}: {where} is taken" in caught.value.detail
    finally:
        await runner.cleanup()
