"""The ends of a connection, as addresses that can be compared."""

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from blog.core.net.bound_port import bind
from blog.core.net.http_client import client_session
from blog.core.net.http_server import app_runner
from blog.core.net.ip import plain_ip
from blog.core.net.peer import local_host, peer_of, remote_host

ROOT = Path(__file__).parents[3] / "blog"
ASKS = {"remote", "getpeername", "peername", "_transport_peername"}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("fe80::5%eth0", "fe80::5"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_an_address_has_one_form(shown: str, expected: str) -> None:
    """IPv4 is IPv4, however the socket shows it."""
    assert plain_ip(shown) == expected
    assert peer_of(make_mocked_request("GET", "/").clone(remote=shown)) == expected


class Ends:
    """A connection with these ends."""

    def __init__(self, **ends: Any) -> None:
        self._ends = ends

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell."""
        return self._ends.get(name, default)


def test_a_connection_without_addresses_has_none() -> None:
    """A Unix socket, or one that was gone before it was looked at."""
    for ends in (Ends(), Ends(peername="", sockname="/run/x"), Ends(peername=None, sockname=None)):
        assert (remote_host(ends), local_host(ends)) == ("", "")


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
async def test_over_a_socket_of_both_kinds_everybody_has_the_own_address(client: str) -> None:
    """In every server of ours that is aiohttp's."""
    seen: list[str] = []

    async def look(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.extend((peer_of(request), remote_host(request.transport), local_host(request.transport)))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", look)
    runner = app_runner(app, shutdown_timeout=0.05)
    await runner.setup()
    try:
        bound = bind("::", 0)
        await web.SockSite(runner, bound.sockets[0]).start()
        url = bound.address.with_host(client).url("/")
        async with asyncio.timeout(10), client_session() as http, http.get(url) as response:
            assert response.status == 200
    finally:
        await runner.cleanup()
    assert seen == [client] * 3


def test_nobody_else_asks_a_connection_who_it_is() -> None:
    """What is read elsewhere would be `::ffff:10.0.0.5` for some, and not in a trusted network."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found = getattr(node, "attr", None) or getattr(node, "value", None)
            if isinstance(node, ast.Attribute | ast.Constant) and isinstance(found, str):
                assert found not in ASKS or path.name == "peer.py", f"{path}:{node.lineno}: {found}"
