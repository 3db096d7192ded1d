"""`blog healthcheck` asks who runs here, and nobody else."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli.health import ask, check
from blog.core.web import INSTANCE_HEADER
from blog.lifecycle.run_file import RunFile, run_file


@pytest.mark.parametrize(
    ("status", "id_", "health"),
    [(200, "a", (True, True)), (503, "a", (False, True)), (200, "b", (True, False))],
)
async def test_an_instance_is_asked(status: int, id_: str, health: tuple[bool, bool]) -> None:
    """It is well, it is not, or another one has its address now."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="ready", headers={INSTANCE_HEADER: id_})

    app = web.Application()
    app.router.add_get("/readyz", answer)
    async with TestServer(app) as server:
        item = RunFile.mine("a", f"0.0.0.0:{server.port}")
        found = await asyncio.to_thread(ask, item, "/readyz")
    assert (found.is_well, found.is_it) == health
    assert found.says == "ready"
    assert not ask(item, "/readyz").is_well


def test_nobody_here_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that does not answer."""
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    assert check(ready=False) == 1
    with run_file(tmp_path, "a", "127.0.0.1:1"):
        assert check(ready=False) == 1
