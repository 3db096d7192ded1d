"""From contract to aiohttp app: parse, call, render, map errors. Handlers never see aiohttp.

Until the instance is open (see `Host`) the door answers 503.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import pydantic_core
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from blog.core.background import background
from blog.core.contract import PAGES, Endpoint, Meta, Page, ServerSent, Service
from blog.core.decision import Unchanged, Written
from blog.core.errors import BlogError, Invalid
from blog.core.reactions import PATH, Delivery
from blog.core.web import (
    AFTER_HEADER,
    AUTHOR_HEADER,
    IDEMPOTENCY_HEADER,
    SEQUENCE_HEADER,
    STALE_HEADER,
    parsed,
    problems,
    read_body,
    requires_token,
    revalidated,
)
from blog.runtime.access import access
from blog.runtime.binding import Binding, Source, bind
from blog.runtime.commands import CommandRequest
from blog.runtime.host import Host, request_id
from blog.runtime.openapi import describe
from blog.runtime.pages import page
from blog.runtime.siblings import PATH as SNAPSHOT
from blog.runtime.siblings import Giver

JSON_TYPE = "application/json"
HEARTBEAT = 15.0
"""Seconds between comments on a quiet stream, so that nobody on the way thinks it is dead."""

_AFTER_TIMEOUT = 1.0
_MAX_KEY = 255
_INNER = (PATH, SNAPSHOT, "/metrics")


def make_app(host: Host, token: str | None, body_limit: int) -> web.Application:
    """Make the app of a service: its declared routes, the bus's door, and its own description."""
    app = web.Application(
        middlewares=[
            access(host.service.name, lambda: host.member),
            problems,
            requires_token(token, lambda request: request.path in _INNER),
        ],
        client_max_size=body_limit,
    )
    kinds: dict[str, Callable[[Host, Endpoint], Handler]] = {
        "command": _command,
        "query": _query,
        "stream": _stream,
        "page": page,
        "action": page,
    }
    for endpoint in host.service.endpoints:
        handler = kinds[endpoint.kind](host, endpoint)
        if endpoint.kind not in PAGES:
            handler = _when_open(host, handler)
        app.router.add_route(endpoint.route.method, endpoint.route.pattern, handler)
        if endpoint.route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, endpoint.route.pattern, handler)
    app.router.add_post(PATH, _when_open(host, partial(_react, host)))
    app.router.add_route(hdrs.METH_GET, SNAPSHOT, _when_open(host, Giver(host).handle))
    app.router.add_get("/openapi.json", _describe(host.service))
    return app


def _when_open(host: Host, handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        host.must_be_open()
        return await handler(request)

    return handle


def _command(host: Host, endpoint: Endpoint) -> Handler:
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, JSON_TYPE) if binding.body else b""
        given = {Source.BODY: parsed(binding.body, body)} if binding.body else {}
        command = _command_request(request, body)

        async def decide(meta: Meta) -> Any:
            return await host.call(binding, request, given | {Source.META: meta})

        catch_up = host.view.catch_up if host.view else None
        return _answered(endpoint, await host.commands.run(command, decide, catch_up))

    return handle


def _answered(endpoint: Endpoint, outcome: Written | Unchanged) -> web.Response:
    """Render what came of a command; where there is nothing to show it is 204."""
    headers = {} if outcome.sequence is None else {SEQUENCE_HEADER: str(outcome.sequence)}
    if isinstance(outcome, Unchanged):
        answer, status = outcome.answer, HTTPStatus.OK
    else:
        event, status = outcome.events[0], HTTPStatus(endpoint.status)
        answer = endpoint.answer(event, outcome) if endpoint.answer else event
        if endpoint.location:
            headers[hdrs.LOCATION] = endpoint.location.format_map(event.model_dump())
    if answer is None or status is HTTPStatus.NO_CONTENT:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    return _json(answer, status=status, headers=headers)


def _query(host: Host, endpoint: Endpoint) -> Handler:
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = await _read_your_writes(host, binding, request)
        try:
            answer = await host.call(binding, request, {Source.META: host.meta(request)})
        except BlogError as error:
            # not there, or not there yet
            error.headers.update(headers)
            raise
        if not isinstance(answer, Page):
            return _json(answer, headers=headers)
        if answer.next:
            url = URL(request.path).with_query(answer.next)
            headers[hdrs.LINK] = f'<{url}>; rel="next"'
        # what an author may see differs from what others see
        headers |= {hdrs.CACHE_CONTROL: "no-cache", hdrs.VARY: AUTHOR_HEADER}
        return revalidated(request, _json(answer.content, headers=headers))

    return handle


def _stream(host: Host, endpoint: Endpoint) -> Handler:
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        assert host.view is not None
        with host.view.changes() as changes, host.member.streaming():
            given = {Source.META: host.meta(request), Source.CHANGES: changes}
            items = await host.call(binding, request, given)
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"}
            )
            await response.prepare(request)
            with suppress(ConnectionError):
                await _send(response, items, host.member.draining)
            return response

    return handle


async def _send(response: web.StreamResponse, items: Any, draining: asyncio.Event) -> None:
    """Send events until they or this instance end; a comment where it is quiet for long."""
    ended = asyncio.Event()

    async def pump() -> None:
        async for item in items:
            await response.write(_server_sent(item))
        ended.set()

    async def beat() -> None:
        while True:
            await response.write(b": still here\n\n")
            await asyncio.sleep(HEARTBEAT)

    async def end_with_instance() -> None:
        await draining.wait()
        ended.set()

    async with background(pump(), beat(), end_with_instance()):
        await ended.wait()


async def _react(host: Host, request: web.Request) -> web.StreamResponse:
    delivery = parsed(Delivery, await request.read())
    answer = await host.reactor.handle(delivery)
    return web.Response(text=answer.model_dump_json(exclude_none=True), content_type=JSON_TYPE)


def _describe(service: Service) -> Handler:
    description = _json(describe(service)).body

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=description, content_type=JSON_TYPE)

    return handle


async def _read_your_writes(host: Host, binding: Binding, request: web.Request) -> dict[str, str]:
    """Wait until the view has what the client has seen written; if it is late, say so."""
    wanted = request.headers.get(AFTER_HEADER)
    if wanted is None and "after" not in binding.query_names():
        wanted = request.query.get("after")
    if wanted is None or host.view is None:
        return {}
    if not (wanted.isascii() and wanted.isdigit()):
        raise Invalid(f"{AFTER_HEADER}: give the number from {SEQUENCE_HEADER}")
    if await host.view.wait_for(int(wanted), _AFTER_TIMEOUT):
        return {}
    return {STALE_HEADER: "true"}


def _command_request(request: web.Request, body: bytes) -> CommandRequest:
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


def _json(answer: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = pydantic_core.to_json(answer)
    return web.Response(status=status, body=body, content_type=JSON_TYPE, headers=headers)


def _server_sent(item: ServerSent) -> bytes:
    """Encode one event (WHATWG HTML §9.2.6). JSON has no line breaks of its own."""
    lines = [f"event: {item.event}".encode(), b"data: " + pydantic_core.to_json(item.data)]
    if item.id is not None:
        lines.insert(0, f"id: {item.id}".encode())
    return b"\n".join(lines) + b"\n\n"
