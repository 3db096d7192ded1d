"""Instances are found where they run: on this machine first, then in a registry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli.bus import _url as bus_url
from blog.cli.locate import LocatedInstance, instances_of, problem_detail, registries
from blog.core.errors import SettingsError
from blog.core.ids import new_id
from blog.core.instance import Instance, State
from blog.core.settings import Settings
from blog.lifecycle.run_file import run_file
from blog.master.recovery import RecoveryRecord
from tests.fakes import FakeClock

HERE, OTHER = f"posts-{new_id()}", f"posts-archive-{new_id()}"


def row(name: str, state: State) -> Any:
    """Give a row of the registry."""
    made = Instance.announce("posts", address="10.0.0.7:8000", started_at=FakeClock().now())
    return made.model_copy(update={"id": name, "state": state}).model_dump(mode="json")


async def found(folder: Path, *registries_: str) -> list[LocatedInstance]:
    """Look for posts."""
    settings = Settings(data_dir=folder, registry=registries_)
    async with aiohttp.ClientSession() as http:
        return await instances_of("posts", http, settings)


async def test_those_here_come_first_and_those_that_do_not_serve_never(tmp_path: Path) -> None:
    """Ready ones before suspects; one that is known from both sides is listed once, as it is here."""
    rows = [
        row("suspect", State.SUSPECT),
        row("starting", State.STARTING),
        row("draining", State.DRAINING),
        row("ready", State.READY),
        row("later", State.READY) | {"state": "warming"},
        row(HERE, State.READY) | {"routes": [{"method": "any"}], "zone": "north"},
    ]

    async def of_service(_: web.Request) -> web.Response:
        return web.json_response(rows)

    app = web.Application()
    app.router.add_get("/v1/services/posts", of_service)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        with (
            run_file(tmp_path, HERE, "0.0.0.0:8000"),
            run_file(tmp_path, OTHER, "0.0.0.0:8001"),
        ):
            listed = await found(tmp_path, "http://127.0.0.1:1", url)
        assert listed == [
            LocatedInstance(HERE, "http://127.0.0.1:8000"),
            LocatedInstance("ready", "http://10.0.0.7:8000"),
            LocatedInstance("suspect", "http://10.0.0.7:8000"),
        ]
    assert await found(tmp_path, "http://127.0.0.1:1") == []


async def test_a_registry_that_refuses_says_why(tmp_path: Path) -> None:
    """A wrong token is not the same as no blog."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"detail": "This door needs the token."}, status=401)

    app = web.Application()
    app.router.add_get("/v1/services/posts", refuse)
    async with TestServer(app) as server:
        with pytest.raises(SettingsError, match="needs the token"):
            await found(tmp_path, f"http://127.0.0.1:{server.port}")


def test_what_another_process_says_is_one_line() -> None:
    """Whatever it sends: nothing that a terminal obeys."""
    assert problem_detail(500, rb'{"detail": "a\u001b[2J\nb"}') == "a [2J b"
    assert (
        problem_detail(500, b'{"detail": "\\n"}')
        == problem_detail(500, b"<html>")
        == "it responded with 500"
    )


def test_of_a_blog_that_runs_in_containers_the_registry_is_known(tmp_path: Path) -> None:
    """Whatever the environment says."""
    settings = Settings(data_dir=tmp_path, registry=("http://elsewhere:4000",))
    assert registries(settings) == ("http://elsewhere:4000",)
    (tmp_path / "run").mkdir()
    RecoveryRecord(runtime="docker", host="127.0.0.1", public_port=1, admin_port=4711).write(tmp_path)
    assert registries(settings) == ("http://127.0.0.1:4711",)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def registry() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Start registries that answer as a test says; give their URLs."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> str:
            app = web.Application()
            app.router.add_get("/v1/services/posts", handler)
            server = await stack.enter_async_context(TestServer(app))
            return f"http://127.0.0.1:{server.port}"

        yield start


def says(text: str, status: int = 200) -> Handler:
    """Answer so."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return respond


async def silent(request: web.Request) -> web.StreamResponse:
    """Answer with half a list, and then nothing more."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"[")
    await asyncio.Event().wait()
    return response


STRANGE = [
    says("no token", 401),
    says("", 404),
    says("<html>"),
    says("[1]"),
    says("3"),
    says("null"),
    says('{"a": 1}'),
    says("[" * 100_000),
    says('[{"id": "posts-1"}]'),
    says("\xff" * 9, 500),
    silent,
]


@pytest.mark.parametrize("strange", STRANGE)
async def test_where_some_run_here_no_registry_has_to_answer(
    tmp_path: Path, registry: Callable[[Handler], Awaitable[str]], strange: Handler
) -> None:
    """One that refuses, answers something else, or never."""
    with run_file(tmp_path, HERE, "127.0.0.1:8000"):
        listed = await found(tmp_path, await registry(strange))
    assert listed == [LocatedInstance(HERE, "http://127.0.0.1:8000")]


@pytest.mark.parametrize("strange", STRANGE)
async def test_one_strange_registry_does_not_hide_the_next(
    tmp_path: Path, registry: Callable[[Handler], Awaitable[str]], strange: Handler
) -> None:
    """Another one may know; where none does, what is wrong is one line."""

    async def knows(_: web.Request) -> web.Response:
        return web.json_response([row("ready", State.READY)])

    first = await registry(strange)
    assert await found(tmp_path, first, await registry(knows)) == [
        LocatedInstance("ready", "http://10.0.0.7:8000")
    ]
    if strange is silent:
        assert await found(tmp_path, first) == []
        return
    with pytest.raises(SettingsError, match="The registry at 127") as wrong:
        await found(tmp_path, first)
    assert len(wrong.value.detail.splitlines()) == 1


async def test_a_bus_that_runs_here_is_the_bus(tmp_path: Path) -> None:
    """No registry is asked, whatever it would respond."""
    requests = 0

    async def never(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/v1/services/bus", never)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        settings = Settings(data_dir=tmp_path, registry=(f"http://127.0.0.1:{server.port}",))
        with run_file(tmp_path, f"bus-{new_id()}", "127.0.0.1:8000"):
            assert await bus_url(http, settings) == "http://127.0.0.1:8000"
    assert requests == 0


@pytest.mark.parametrize("odd", [{"id": "odd"}, {"state": "new"}, {"address": "nowhere"}, None, "x"])
async def test_a_row_that_cannot_be_read_hides_no_other(tmp_path: Path, odd: Any) -> None:
    """A newer registry may have states that this version does not know."""
    changed = row("odd", State.READY) | odd if isinstance(odd, dict) and "id" not in odd else odd
    rows = [row("a", State.READY), changed, row("b", State.READY)]

    async def respond(_: web.Request) -> web.Response:
        return web.json_response(rows)

    app = web.Application()
    app.router.add_get("/v1/services/posts", respond)
    async with TestServer(app) as server:
        known = await found(tmp_path, f"http://127.0.0.1:{server.port}")
    assert [one.id for one in known] == ["a", "b"]
