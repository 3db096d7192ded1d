"""Commands to the bus: the response of another program at its address is one line."""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli.bus import _call
from blog.core.errors import SettingsError
from blog.core.ids import new_id
from blog.lifecycle.run_file import run_file


@pytest.mark.parametrize("says", ["<html>", "[" * 100_000, "\x1b[2J"])
async def test_what_is_not_json_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """With its address."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(text=says)

    app = web.Application()
    app.router.add_get("/dead-letters", respond)
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    async with TestServer(app) as server:
        with run_file(tmp_path, f"bus-{new_id()}", f"127.0.0.1:{server.port}"):
            with pytest.raises(SettingsError) as wrong:
                await _call("GET", "/dead-letters")
            says_so = f"The bus at 127.0.0.1:{server.port}: its response is not JSON"
    assert wrong.value.detail.startswith(says_so)
