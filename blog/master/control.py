"""Control of a running blog: HTTP over a Unix socket in its data directory."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field, RootModel

from blog.core.errors import Invalid, SettingsError
from blog.core.events import NDJSON_TYPE
from blog.core.net.http_server import app_runner
from blog.core.web import number, parsed, problems, read_body
from blog.master.replicas.rollout import PATIENCE
from blog.master.replicas.rollout_runner import RolloutRunner
from blog.master.runtimes.logs import files, news
from blog.master.scaling.loop import ScalingLoop
from blog.master.status import StatusTable

_MAX_PATH = 100  # a Unix socket's address has 108 bytes
_LOOK_EVERY = 0.2
_MAX_COMING = 100  # changes of each schedule that are shown
_CLOSE_TIMEOUT = 0.1


class _ScaleRequest(RootModel[dict[str, int | Literal["auto"]]]):
    """`{"comments": 3, "posts": "auto"}`."""


class RolloutRequest(BaseModel):
    """A rollout: of which service, and the seconds that a new copy has to get ready."""

    service: str
    timeout: float = Field(default=PATIENCE, gt=0, le=3600)


class ControlAPI:
    """The routes."""

    def __init__(
        self,
        loop: ScalingLoop,
        table: StatusTable,
        rollouts: RolloutRunner,
        logs: Path,
        stopping: asyncio.Event,
    ) -> None:
        self._loop = loop
        self._table = table
        self._rollouts = rollouts
        self._logs = logs
        self._stopping = stopping

    def app(self) -> web.Application:
        """Make the app."""
        app = web.Application(middlewares=[problems])
        app.add_routes(
            [
                web.get("/instances", self._instances),
                web.get("/services", self._services),
                web.put("/scale", self._scale),
                web.get("/schedule", self._schedule),
                web.post("/rollouts", self._roll_out),
                web.get("/logs", self._show_logs),
                web.post("/down", self._down),
            ]
        )
        return app

    async def _instances(self, _: web.Request) -> web.Response:
        return web.json_response(await self._table.rows())

    async def _services(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"services": await self._table.services(), "problem": self._loop.file.problem}
        )

    async def _scale(self, request: web.Request) -> web.Response:
        said = parsed(_ScaleRequest, await read_body(request, "application/json")).root
        try:
            counts = self._loop.say({name: None if n == "auto" else n for name, n in said.items()})
        except SettingsError as error:
            raise Invalid(error.detail) from None
        return web.json_response(counts)

    async def _schedule(self, request: web.Request) -> web.Response:
        count = min(number(request, "count", 1), _MAX_COMING)
        coming = self._loop.coming(count)
        return web.json_response({"coming": coming, "problem": self._loop.file.problem})

    async def _roll_out(self, request: web.Request) -> web.StreamResponse:
        """Begin one; send what happens, a line of JSON each, and at the end whether it failed and why."""
        asked = parsed(RolloutRequest, await read_body(request, "application/json"))
        rollout = self._rollouts.begin(asked.service, asked.timeout)
        response = web.StreamResponse(headers={"Content-Type": NDJSON_TYPE})
        await response.prepare(request)
        told = 0
        with suppress(ConnectionError):  # who does not wait for it does not stop it
            while rollout.failure is None or told < len(rollout.said):
                for line in rollout.said[told:]:
                    await response.write(json.dumps({"said": line}).encode() + b"\n")
                    told += 1
                await asyncio.sleep(_LOOK_EVERY)
            await response.write(json.dumps({"failure": rollout.failure}).encode() + b"\n")
        return response

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
    runner = app_runner(app, shutdown_timeout=_CLOSE_TIMEOUT)
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
