"""The bus: one log behind HTTP, and reactions to one living instance each."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from blog.bus.api.admin import AdminRoutes
from blog.bus.api.append_fastpath import AppendFastPath
from blog.bus.api.append_wire import APPEND_TYPES, MAX_BODY, read_append, told
from blog.bus.api.follow import FollowStreams
from blog.bus.delivery.delivery import Delivery
from blog.bus.log.log import EventLog, LogLockedError
from blog.bus.log.tail import EventFilter
from blog.bus.metrics import BusCollector
from blog.core.background import background
from blog.core.errors import NotFound, SettingsError
from blog.core.events import BATCH_TYPE, EVENT_TYPE
from blog.core.files.data_dir import unusable
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import number, problems, read_body, requires_token
from blog.eventlog.wire import LOG_HEADER
from blog.http.limits import server_options
from blog.lifecycle.health_endpoints import is_probe
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member

SERVICE = "bus"
_MAX_PAGE = 1000
_LOCK_RETRY = 0.2

log = get_logger()


async def run(settings: Settings, lifecycle: Lifecycle, *, adopt: bool = False) -> None:
    """Run the bus until it is asked to stop. While another process has the log it stands by.

    Raises SettingsError when the registry knows another log than this one, unless `adopt`, or when the
    log cannot be written.
    """
    async with _opened(settings, lifecycle) as journal:
        if journal is None:
            return
        door = Routes(journal)
        appends = AppendFastPath(journal, settings.secret, lifecycle.clock)
        async with Member.join(
            lifecycle,
            settings,
            door.app(settings.secret),
            service=SERVICE,
            metadata={"log": journal.identity, **({"adopt": "true"} if adopt else {})},
            follow=("*",),
            door=server_options(),
            front=appends,
        ) as member:
            appends.open(member)
            door.followers.open(member)
            delivery = Delivery(
                journal, member.registry_client, member.http, lifecycle.clock, settings.secret
            )
            door.admin.delivery = delivery
            collector = BusCollector(journal, delivery, door.followers.positions, lifecycle.clock.now)
            member.metrics.register(collector)
            async with background(delivery.run()):
                if await lifecycle.until_stopping(_get_ready(member, journal)):
                    await member.serve_until_stopped()


def log_path(settings: Settings) -> Path:
    """Return where the log is."""
    return settings.data_dir / SERVICE / "log.db"


async def _get_ready(member: Member, journal: EventLog) -> None:
    await member.registry_client.wait_until_joined()
    known = member.discovery.log
    if known not in (None, journal.identity):
        raise SettingsError(
            f"The log in {journal.path} is {journal.identity}, but the registry knows {known}:"
            " start the bus with that one's data directory, or overrule with `blog bus --adopt`."
        )
    await member.ready()


@asynccontextmanager
async def _opened(settings: Settings, lifecycle: Lifecycle) -> AsyncIterator[EventLog | None]:
    """Open the log; wait as a standby while another process has it. None when asked to stop."""
    said = False
    path = log_path(settings)
    while not lifecycle.stopping.is_set():
        opening = EventLog.open(path)
        try:
            journal = await opening.__aenter__()
        except LogLockedError:
            if not said:
                log.warning("log.locked", path=str(path), next="standing by until it is free")
                said = True
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOCK_RETRY):
                    await lifecycle.stopping.wait()
            continue
        except (OSError, sqlite3.Error) as error:
            raise unusable(settings.data_dir, path, error) from None
        try:
            yield journal
        finally:
            await opening.__aexit__(None, None, None)
        return
    yield None


class Routes:
    """The bus's routes."""

    def __init__(self, journal: EventLog) -> None:
        self.admin = AdminRoutes(journal)
        self.followers = FollowStreams(journal)
        self._log = journal

    def app(self, token: str | None) -> web.Application:
        """Make the app; everything but the probes needs the token."""
        app = web.Application(
            middlewares=[
                self._says_which_log,
                problems,
                requires_token(token, lambda request: not is_probe(request.path)),
            ],
            client_max_size=MAX_BODY,
        )
        app.add_routes(
            [
                web.post("/events", self._append),
                web.get("/events", self._events),
                web.get("/events/head", self._head),
                web.get("/events/{id}", self._event),
                *self.admin.routes(),
            ]
        )
        return app

    @web.middleware
    async def _says_which_log(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            response.headers[LOG_HEADER] = self._log.identity
        return response

    async def _append(self, request: web.Request) -> web.Response:
        body = await read_body(request, *APPEND_TYPES)
        asked = read_append(request.content_type, request.query, body)
        appended = await self._log.append(*asked)
        return web.Response(body=told(appended), content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = number(request, "after") or 0
        types = frozenset(request.query.getall("type", ()))
        key = request.query.get("key")
        if request.query.get("follow") == "true":
            return await self.followers.follow(request, after, EventFilter(types, key))
        limit = min(max(1, number(request, "limit", 100)), _MAX_PAGE)
        entries, through = await self._log.read(after, limit, types, key)
        return web.Response(
            text=f"[{','.join(entry.envelope for entry in entries)}]",
            content_type=BATCH_TYPE,
            headers={"Blog-Through": str(through)},
        )

    async def _head(self, _: web.Request) -> web.Response:
        return web.json_response({"log": self._log.identity, "sequence": self._log.head})

    async def _event(self, request: web.Request) -> web.Response:
        entry = await self._log.get(request.match_info["id"])
        if entry is None:
            raise NotFound("The log has no event with this id.")
        return web.Response(text=entry.envelope, content_type=EVENT_TYPE)
