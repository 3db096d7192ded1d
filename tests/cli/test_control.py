"""Commands to a running blog: what its replicas logged is shown, and not obeyed."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from blog.cli.control import _print_logs, socket_path
from blog.master.control import serve

PIECES = [
    b"posts-1 | \xc3", b"\xa9 \x1b[2J\x9b \xff \xe2\x80", b"\xae[red]\rx\n",
    b"posts-1 | \x1b]0;t\x07\n", b"x" * 99_999, b"\xe2\x82",
]  # fmt: skip
SHOWN = (
    "posts-1 | é \\u001b[2J\\udc9b \\udcff \\u202e[red]\\rx\nposts-1 | \\u001b]0;t\\u0007\n"
    + "x" * 99_999
    + "\\udce2\\udc82"
)


async def test_lines_are_escaped_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older master sends them raw, and a chunk may end within a character, the last one too."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
            await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_get("/logs", stream)
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    async with serve(app, socket_path(tmp_path)):
        await _print_logs((), follow=False)
    assert capsys.readouterr().out == SHOWN
