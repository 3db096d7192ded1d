"""Handler context: what the handlers of one running service are called with, per instance and request."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web

from blog.core.contract import Meta, Service
from blog.core.errors import Invalid, Unavailable
from blog.core.ids import new_id, sha256_hex
from blog.core.settings import ServiceSettings
from blog.core.web import AUTHOR_HEADER, IDEMPOTENCY_HEADER, REQUEST_ID_HEADER
from blog.eventlog.client import EventLogClient
from blog.lifecycle.member import Member
from blog.runtime.binding import ArgumentSource, Binding
from blog.runtime.commands import CommandRequest, CommandRunner
from blog.runtime.peers import PeerClients
from blog.runtime.reactions import ReactionRunner
from blog.runtime.view.host import ViewHost

_MAX_KEY = 255


class HandlerContext:
    """Holds what handlers are called with. It is filled while the instance starts, then `is_open`."""

    def __init__(self, service: Service, settings: ServiceSettings | None) -> None:
        self.service = service
        self.settings = settings
        self.member: Member
        self.bus: EventLogClient
        self.commands: CommandRunner
        self.reactor: ReactionRunner
        self.view: ViewHost | None = None
        self.is_open = False

    async def call(
        self, binding: Binding, request: web.Request, given: Mapping[ArgumentSource, Any]
    ) -> Any:
        """Call a handler with the parameters of the request, peers included."""
        if binding.has(ArgumentSource.PEERS) and ArgumentSource.PEERS not in given:
            given = {**given, ArgumentSource.PEERS: self.peers(request, given[ArgumentSource.META])}
        return await self.call_with(binding, request.match_info, request.query, given)

    async def call_with(
        self,
        binding: Binding,
        path: Mapping[str, str],
        query: Mapping[str, str],
        given: Mapping[ArgumentSource, Any],
    ) -> Any:
        """Call a handler: with the view on its reading thread, else here, awaited if it is async."""
        given = {ArgumentSource.SETTINGS: self.settings, **given}
        fill = partial(binding.arguments, path, query)
        if not binding.has(ArgumentSource.VIEW):
            result = binding.handler(**fill(given))
            return await result if inspect.isawaitable(result) else result
        assert self.view is not None
        return await self.view.read(
            lambda view: binding.handler(**fill(given | {ArgumentSource.VIEW: view}))
        )

    def must_be_open(self) -> None:
        """Raise Unavailable while this instance is starting."""
        if not self.is_open:
            raise Unavailable("This instance is still starting.", headers={"Retry-After": "1"})

    def meta(self, request: web.Request, author_token: str | None = None) -> Meta:
        """Make the `meta` of a request. `author_token` is for handlers that may see it (pages)."""
        token = author_token or request.headers.get(AUTHOR_HEADER)
        return Meta(
            request_id=request_id(request),
            now=self.member.clock.now(),
            author_hash=sha256_hex(token) if token else None,
            author_token=author_token,
            base_url=base_url(request),
        )

    def peers(self, request: web.Request, meta: Meta) -> PeerClients:
        """Make the peers of a request: calls carry its id, its trace and its author."""
        headers = {
            REQUEST_ID_HEADER: meta.request_id,
            AUTHOR_HEADER: meta.author_token or request.headers.get(AUTHOR_HEADER),
            "traceparent": request.headers.get("traceparent"),
        }
        return PeerClients(self.member, {name: value for name, value in headers.items() if value})


def command_request_of(request: web.Request, body: bytes) -> CommandRequest:
    """Return what determines the ids of the events of a request. Raises Invalid for a bad key."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is not None and not 0 < len(key) <= _MAX_KEY:
        raise Invalid(f"{IDEMPOTENCY_HEADER}: 1 to {_MAX_KEY} characters")
    return CommandRequest(
        method=request.method,
        path=request.path,
        body=body,
        request_id=request_id(request),
        author_token=request.headers.get(AUTHOR_HEADER),
        idempotency_key=key,
        traceparent=request.headers.get("traceparent"),
    )


def base_url(request: web.Request) -> str:
    """Return the URL of this blog for the client: as the gateway forwards it, else this request's own."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    return f"{scheme}://{request.headers.get('X-Forwarded-Host', request.host)}"


def request_id(request: web.Request) -> str:
    """Return the id that the gateway gave the request, or a new one."""
    return request.headers.get(REQUEST_ID_HEADER) or new_id()
