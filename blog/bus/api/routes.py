"""Routes: the bus's HTTP API, except for appends on the fast path. No logic of its own."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from blog.bus.api.admin import AdminRoutes
from blog.bus.api.append_request import read_append
from blog.bus.api.follow import FollowStreams
from blog.bus.log.log import EventLog
from blog.bus.log.tail import EventFilter
from blog.core.errors import NotFound
from blog.core.events import BATCH_TYPE, EVENT_TYPE
from blog.core.net.access_control import access_control
from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.web import is_probe, number, problems, read_body
from blog.eventlog.wire import (
    APPEND_TYPES,
    LOG_HEADER,
    MAX_BODY,
    THROUGH_HEADER,
    Head,
    encode_appended,
    encode_head,
)

_PAGE, _MAX_PAGE = 100, 1000


class Routes:
    """The bus's routes."""

    def __init__(self, event_log: EventLog) -> None:
        self.admin = AdminRoutes(event_log)
        self.followers = FollowStreams(event_log)
        self._log = event_log

    def app(self, policy: AccessPolicy) -> web.Application:
        """Make the app; `policy` decides about each request."""
        app = web.Application(
            middlewares=[
                self._add_log_header,
                problems,
                access_control(policy, access_of),
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
    async def _add_log_header(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            response.headers[LOG_HEADER] = self._log.identity
        return response

    async def _append(self, request: web.Request) -> web.Response:
        body = await read_body(request, *APPEND_TYPES)
        append = read_append(request.content_type, request.query, body)
        appended = await self._log.append(*append)
        return web.Response(body=encode_appended(appended), content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = number(request, "after") or 0
        types = frozenset(request.query.getall("type", ()))
        key = request.query.get("key")
        if request.query.get("follow") == "true":
            return await self.followers.follow(request, after, EventFilter(types, key))
        limit = min(max(1, number(request, "limit", _PAGE)), _MAX_PAGE)
        entries, through = await self._log.read(after, limit, types, key)
        return web.Response(
            text=f"[{','.join(entry.envelope for entry in entries)}]",
            content_type=BATCH_TYPE,
            headers={THROUGH_HEADER: str(through)},
        )

    async def _head(self, _: web.Request) -> web.Response:
        body = encode_head(Head(self._log.identity, self._log.head))
        return web.Response(text=body, content_type="application/json")

    async def _event(self, request: web.Request) -> web.Response:
        entry = await self._log.get(request.match_info["id"])
        if entry is None:
            raise NotFound("The log has no event with this id.")
        return web.Response(text=entry.envelope, content_type=EVENT_TYPE)


def access_of(request: web.Request) -> Access:
    """Return what a request to the bus asks for: only appends change anything without an operator."""
    if is_probe(request.path):
        return Access.PROBE
    is_read = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
    return Access.INTERNAL if is_read or request.path == "/events" else Access.OPERATOR
