"""Control API of a running blog: HTTP over a Unix socket in its data directory."""

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
from blog.master.replicas.rollout import READY_TIMEOUT
from blog.master.replicas.rollout_runner import RolloutRunner
from blog.master.runtimes.logs import log_files, read_new_lines
from blog.master.scaling.loop import ScalingLoop
from blog.master.status import StatusTable

_MAX_PATH = 100  # a Unix socket's address has 108 bytes
_POLL_INTERVAL = 0.2
_MAX_UPCOMING = 100  # changes of each schedule that are shown
_CLOSE_TIMEOUT = 0.1


class _ScaleRequest(RootModel[dict[str, int | Literal["auto"]]]):
    """`{"comments": 3, "posts": "auto"}`."""


class RolloutRequest(BaseModel):
    """A rollout: of which service, and the seconds that a new replica has to become ready."""

    service: str
    timeout: float = Field(default=READY_TIMEOUT, gt=0, le=3600)


class ControlAPI:
    """The routes of the control API."""

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
            {
                "services": await self._table.services(),
                "problem": self._loop.file.problem,
                "passed_over": self._table.passed_over(),
            }
        )

    async def _scale(self, request: web.Request) -> web.Response:
        asked = parsed(_ScaleRequest, await read_body(request, "application/json")).root
        counts = {name: count if isinstance(count, int) else None for name, count in asked.items()}
        try:
            return web.json_response(self._loop.set_manual(counts))
        except SettingsError as error:
            raise Invalid(error.detail) from None

    async def _schedule(self, request: web.Request) -> web.Response:
        count = min(number(request, "count", 1), _MAX_UPCOMING)
        upcoming = self._loop.upcoming(count)
        return web.json_response({"coming": upcoming, "problem": self._loop.file.problem})

    async def _roll_out(self, request: web.Request) -> web.StreamResponse:
        """Start one; send its progress, a line of JSON each, and at the end why it failed, or ""."""
        rollout_request = parsed(RolloutRequest, await read_body(request, "application/json"))
        rollout = self._rollouts.start(rollout_request.service, rollout_request.timeout)
        response = web.StreamResponse(headers={"Content-Type": NDJSON_TYPE})
        await response.prepare(request)
        sent = 0
        with suppress(ConnectionError):  # a client that goes away does not stop the rollout
            while rollout.failure is None or sent < len(rollout.lines):
                for line in rollout.lines[sent:]:
                    await response.write(json.dumps({"said": line}).encode() + b"\n")
                    sent += 1
                await asyncio.sleep(_POLL_INTERVAL)
            await response.write(json.dumps({"failure": rollout.failure}).encode() + b"\n")
        return response

    async def _down(self, _: web.Request) -> web.Response:
        self._stopping.set()
        return web.Response(status=202)

    async def _show_logs(self, request: web.Request) -> web.StreamResponse:
        """Send the last lines, and with `follow=true` new ones, each after the replica's name."""
        services = frozenset(request.query.getall("service", ()))
        follow = request.query.get("follow") == "true"
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        offsets: dict[Path, int] = {}
        with suppress(ConnectionError):
            while True:
                for file in log_files(self._logs, services):
                    await response.write(read_new_lines(file, offsets))
                if not follow or self._stopping.is_set():
                    break
                await asyncio.sleep(_POLL_INTERVAL)
        return response


@asynccontextmanager
async def serve(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve `app` at the Unix socket `path`, for this user only."""
    _remove_socket(path)
    runner = app_runner(app, shutdown_timeout=_CLOSE_TIMEOUT)
    await runner.setup()
    try:
        with short_name(path) as address:
            await web.UnixSite(runner, address).start()
        _keep_private(path)
        yield
    finally:
        await runner.cleanup()
        _remove_socket(path)


def _remove_socket(path: Path) -> None:
    """Make the folder, and remove the socket that a killed blog left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _keep_private(path: Path) -> None:
    path.chmod(0o600)


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Yield a name for the socket `path` that is short enough for an address, in any folder."""
    if len(str(path)) <= _MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
