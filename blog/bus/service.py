"""The bus: one log behind HTTP, and reactions to one living instance each."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter, ValidationError

from blog.bus.admin import Admin
from blog.bus.client import LOG_HEADER
from blog.bus.delivery import Delivery
from blog.bus.expectation import Expected
from blog.bus.log import Log, LogLockedError
from blog.bus.metrics import BusCollector
from blog.bus.schema import Entry
from blog.core.background import background
from blog.core.errors import Invalid, NotFound, SettingsError, TooLarge
from blog.core.events import BATCH_TYPE, EVENT_TYPE, NDJSON_TYPE, Envelope
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.core.web import invalid, number, problems, read_body, requires_token
from blog.http.limits import server_options
from blog.lifecycle.lifecycle import Lifecycle
from blog.lifecycle.member import Member
from blog.lifecycle.operations import is_probe

SERVICE = "bus"
MAX_EVENT = 256 * 1024
"""Bytes of one event; more is 413."""
MAX_BODY = 16 * 1024 * 1024
HEARTBEAT = 15.0
"""Seconds after which a quiet follower is told how far it is."""
_MAX_PAGE = 1000
_STREAM_PAGE = 500
_SLOW = 30.0  # seconds that a follower may take for a page before it is cut off
_LOCK_RETRY = 0.2

_one: TypeAdapter[Envelope] = TypeAdapter(Envelope)
_many: TypeAdapter[list[Envelope]] = TypeAdapter(list[Envelope])
log = get_logger()


async def run(settings: Settings, lifecycle: Lifecycle, *, adopt: bool = False) -> None:
    """Run the bus until it is asked to stop. While another process has the log it stands by.

    Raises SettingsError when the registry knows another log than this one, unless `adopt`.
    """
    async with _opened(log_path(settings), lifecycle) as journal:
        if journal is None:
            return
        door = Door(journal)
        async with Member.join(
            lifecycle,
            settings,
            door.app(settings.secret),
            service=SERVICE,
            metadata={"log": journal.identity, **({"adopt": "true"} if adopt else {})},
            follow=("*",),
            door=server_options(),
        ) as member:
            door.open(member)
            delivery = Delivery(journal, member.session, member.http, lifecycle.clock, settings.secret)
            door.admin.delivery = delivery
            collector = BusCollector(journal, delivery, door.followers.values, lifecycle.clock.now)
            member.metrics.register(collector)
            async with background(delivery.run()):
                if await lifecycle.until_stopping(_get_ready(member, journal)):
                    await member.serve_until_stopped()


def log_path(settings: Settings) -> Path:
    """Return where the log is."""
    return settings.data_dir / SERVICE / "log.db"


async def _get_ready(member: Member, journal: Log) -> None:
    await member.session.wait_until_joined()
    known = member.discovery.log
    if known not in (None, journal.identity):
        raise SettingsError(
            f"The log in {journal.path} is {journal.identity}, but the registry knows {known}:"
            " start the bus with that one's data directory, or overrule with `blog bus --adopt`."
        )
    await member.ready()


@asynccontextmanager
async def _opened(path: Path, lifecycle: Lifecycle) -> AsyncIterator[Log | None]:
    """Open the log; wait as a standby while another process has it. None when asked to stop."""
    said = False
    while not lifecycle.stopping.is_set():
        opening = Log.open(path)
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
        try:
            yield journal
        finally:
            await opening.__aexit__(None, None, None)
        return
    yield None


class Door:
    """The bus's routes."""

    def __init__(self, journal: Log) -> None:
        self.admin = Admin(journal)
        self.followers: dict[int, int] = {}
        """The sequence up to which each open stream was sent everything."""
        self._log = journal
        self._member: Member

    def open(self, member: Member) -> None:
        """Know the member that the door belongs to."""
        self._member = member

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
        body = await read_body(request, BATCH_TYPE, EVENT_TYPE, "application/json")
        envelopes = _parse(body, is_batch=request.content_type == BATCH_TYPE)
        appended = await self._log.append(envelopes, _expected(request, envelopes[0].subject))
        results = [
            {"id": item.id, "sequence": item.sequence, "duplicate": item.duplicate} for item in appended
        ]
        return web.json_response({"results": results})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = number(request, "after") or 0
        types = frozenset(request.query.getall("type", ()))
        key = request.query.get("key")
        if request.query.get("follow") == "true":
            return await self._follow(request, after, types, key)
        limit = min(max(1, number(request, "limit", 100)), _MAX_PAGE)
        entries, through = await self._log.read(after, limit, types, key)
        return web.Response(
            text=f"[{','.join(entry.envelope for entry in entries)}]",
            content_type=BATCH_TYPE,
            headers={"Blog-Through": str(through)},
        )

    async def _follow(
        self, request: web.Request, after: int, types: frozenset[str], key: str | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": NDJSON_TYPE, LOG_HEADER: self._log.identity}
        )
        news = asyncio.Event()
        stop = self._log.on_append(news.set)
        self.followers[id(request)] = after
        try:
            with self._member.streaming(), suppress(ConnectionError, TimeoutError):
                await response.prepare(request)
                async with background(_set_when(self._member.draining, news)):
                    await self._feed(request, response, types, key, news)
        finally:
            stop()
            del self.followers[id(request)]
        return response

    async def _feed(
        self,
        request: web.Request,
        response: web.StreamResponse,
        types: frozenset[str],
        key: str | None,
        news: asyncio.Event,
    ) -> None:
        """Send pages of what is new until the bus drains or the follower is gone or too slow."""
        while not self._member.draining.is_set():
            news.clear()
            after = self.followers[id(request)]
            entries, through = await self._log.read(after, _STREAM_PAGE, types, key)
            async with asyncio.timeout(_SLOW):
                await response.write(_page(entries, through))
            self.followers[id(request)] = through
            if through >= self._log.head:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):
                        await news.wait()

    async def _head(self, _: web.Request) -> web.Response:
        return web.json_response({"log": self._log.identity, "sequence": self._log.head})

    async def _event(self, request: web.Request) -> web.Response:
        entry = await self._log.get(request.match_info["id"])
        if entry is None:
            raise NotFound("The log has no event with this id.")
        return web.Response(text=entry.envelope, content_type=EVENT_TYPE)


def _parse(body: bytes, *, is_batch: bool) -> list[Envelope]:
    """Read one event or a batch. Raises Malformed, Invalid or TooLarge; nothing is taken then."""
    try:
        envelopes = _many.validate_json(body) if is_batch else [_one.validate_json(body)]
    except ValidationError as error:
        raise invalid(error) from None
    if not envelopes:
        raise Invalid("A batch has at least one event.")
    # only a batch that is large as a whole can have an event that is too large
    if len(body) > MAX_EVENT and any(len(item.to_json().encode()) > MAX_EVENT for item in envelopes):
        raise TooLarge(f"An event may have {MAX_EVENT} bytes.")
    return envelopes


def _expected(request: web.Request, key: str) -> Expected | None:
    """Read what a writer expects of the key of its first event. Raises Invalid."""
    sequence = number(request, "expectedsequence")
    types = frozenset(request.query.getall("expectedtype", ()))
    if sequence is not None:
        return Expected(key, sequence, types)
    if types:
        raise Invalid("expectedtype: says nothing without expectedsequence")
    return None


def _page(entries: list[Entry], through: int) -> bytes:
    lines = [entry.envelope for entry in entries]
    lines.append(json.dumps({"through": through}))
    return ("\n".join(lines) + "\n").encode()


async def _set_when(happened: asyncio.Event, also: asyncio.Event) -> None:
    await happened.wait()
    also.set()
