"""Commands to the bus: the response of another program at its address is one line."""

import json
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli.bus import _call, _print_events
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


HOSTILE = "\x9b31m\u202e\u2028\x7f"
EVENT = {"id": "e1", "data": {"text": HOSTILE}}


async def events_of(folder: Path, lines: list[bytes]) -> None:
    """Run `blog events` at a bus that sends these lines."""

    async def head(_: web.Request) -> web.Response:
        return web.json_response({"sequence": 2})

    async def stream(_: web.Request) -> web.Response:
        return web.Response(body=b"\n".join(lines) + b"\n")

    app = web.Application()
    app.add_routes([web.get("/events/head", head), web.get("/events", stream)])
    async with TestServer(app) as server:
        with run_file(folder, f"bus-{new_id()}", f"127.0.0.1:{server.port}"):
            await _print_events(0, (), None, follow=False)


@pytest.mark.parametrize(
    "odd", [b"\x1b[2J", b'"text"', b"[1]", b"{", b"\xff", b"[" * 100_000, b'{"through" 1}']
)
async def test_a_line_that_is_no_event_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], odd: bytes
) -> None:
    """It is said on stderr; the events are the same JSON, escaped."""
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    event = json.dumps(EVENT, ensure_ascii=False).encode()
    await events_of(tmp_path, [event, odd, event, b'{"through": 2}'])
    shown = capsys.readouterr()
    assert [json.loads(line) for line in shown.out.splitlines()] == [EVENT, EVENT]
    assert shown.out.replace("\n", "").isprintable()
    [line] = shown.err.splitlines()
    assert line.startswith("blog: not shown: ")
    assert line.isprintable()


@pytest.mark.parametrize("through", [b'{"through": "x"}', b'{"through": null}'])
async def test_a_bus_that_does_not_say_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through: bytes
) -> None:
    """One line, and no traceback."""
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match="has no through"):
        await events_of(tmp_path, [through])
