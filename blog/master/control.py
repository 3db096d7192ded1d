"""Control of a running blog: HTTP over a Unix socket in its data directory."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from aiohttp import web
from pydantic import RootModel

from blog.core.errors import Invalid, SettingsError
from blog.core.web import parsed, problems, read_body
from blog.master.copy_log import files, news
from blog.master.service import Master
from blog.master.table import Table

_MAX_PATH = 100  # a Unix socket's address has 108 bytes
_LOOK_EVERY = 0.2
_CLOSE_TIMEOUT = 0.1


class _Wanted(RootModel[dict[str, int]]):
    """`{"comments": 3}`."""


class Control:
    """The routes."""

    def __init__(self, master: Master, table: Table, logs: Path, stopping: asyncio.Event) -> None:
        self._master = master
        self._table = table
        self._logs = logs
        self._stopping = stopping

    def app(self) -> web.Application:
        """Make the app."""
        app = web.Application(middlewares=[problems])
        app.add_routes(
            [
                web.get("/instances", self._instances),
                web.put("/scale", self._scale),
                web.get("/logs", self._show_logs),
                web.post("/down", self._down),
            ]
        )
        return app

    async def _instances(self, _: web.Request) -> web.Response:
        return web.json_response(await self._table.rows())

    async def _scale(self, request: web.Request) -> web.Response:
        wanted = parsed(_Wanted, await read_body(request, "application/json")).root
        try:
            self._master.scale(wanted)
        except SettingsError as error:
            raise Invalid(error.detail) from None
        return web.json_response(self._master.desired)

    async def _down(self, _: web.Request) -> web.Response:
        self._stopping.set()
        return web.Response(status=202)

    async def _show_logs(self, request: web.Request) -> web.StreamResponse:
        """Send the last lines, then with `follow=true` what is added, each with the copy's name."""
        services = frozenset(request.query.getall("service", ()))
        follow = request.query.get("follow") == "true"
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        read: dict[Path, int] = {}
        with suppress(ConnectionError):
            while True:
                for file in files(self._logs, services):
                    await response.write(news(file, read))
                if not follow or self._stopping.is_set():
                    break
                await asyncio.sleep(_LOOK_EVERY)
        return response


@asynccontextmanager
async def served(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve `app` at the Unix socket `path`, for this user only."""
    _make_room(path)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=_CLOSE_TIMEOUT)
    await runner.setup()
    try:
        with short(path) as address:
            await web.UnixSite(runner, address).start()
        _keep_private(path)
        yield
    finally:
        await runner.cleanup()
        _make_room(path)


def _make_room(path: Path) -> None:
    """Make the folder; a socket that a killed blog left behind is in the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _keep_private(path: Path) -> None:
    path.chmod(0o600)


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Give a name of the socket `path` that fits into an address, however deep the folder is."""
    if len(str(path)) <= _MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
