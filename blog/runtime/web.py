"""From contract to aiohttp app: parse, call, render, map errors. Handlers never see aiohttp.

Until the instance is open (see `HandlerContext`) its routes respond with 503.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import pydantic_core
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from blog.core.contract import PAGES, Endpoint, Meta, Service
from blog.core.decision import Unchanged, Written
from blog.core.net.access_control import access_control
from blog.core.net.access_policy import Access, AccessPolicy
from blog.core.operator import PATH as OPERATOR_PATH
from blog.core.reactions import PATH, read_delivery
from blog.core.refusals import refused_pattern
from blog.core.web import (
    SEQUENCE_HEADER,
    invalid,
    is_probe,
    parsed,
    problems,
    read_all,
    read_body,
)
from blog.runtime.access import access
from blog.runtime.binding import ArgumentSource, bind
from blog.runtime.handler_context import HandlerContext, command_request_of
from blog.runtime.openapi import describe
from blog.runtime.operator import OperatorAPI
from blog.runtime.pages import page, refused_page
from blog.runtime.queries import query
from blog.runtime.streams import stream
from blog.runtime.view.transfer import PATH as SNAPSHOT
from blog.runtime.view.transfer import SnapshotServer

JSON_TYPE = "application/json"

_INTERNAL = (PATH, SNAPSHOT, "/metrics")


def make_app(context: HandlerContext, policy: AccessPolicy, body_limit: int) -> web.Application:
    """Make the app of a service: its declared routes, those for the platform, and its description."""
    app = web.Application(
        middlewares=[
            access(context.service.name, lambda: context.member),
            problems,
            access_control(policy, _access_of),
        ],
        client_max_size=body_limit,
    )
    kinds: dict[str, Callable[[HandlerContext, Endpoint], Handler]] = {
        "command": _command,
        "query": query,
        "stream": stream,
        "page": page,
        "action": page,
    }
    for endpoint in context.service.endpoints:
        handler = kinds[endpoint.kind](context, endpoint)
        if endpoint.kind not in PAGES:
            handler = _when_open(context, handler)
        app.router.add_route(endpoint.route.method, endpoint.route.pattern, handler)
        if endpoint.route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, endpoint.route.pattern, handler)
        if endpoint.route.shows_refusals:
            pattern = refused_pattern(endpoint.route.pattern)
            app.router.add_route(endpoint.route.method, pattern, refused_page(context, endpoint))
    app.router.add_post(PATH, _when_open(context, partial(_react, context)))
    app.router.add_route(hdrs.METH_GET, SNAPSHOT, _when_open(context, SnapshotServer(context).handle))
    app.router.add_get("/openapi.json", _describe(context.service))
    app.add_routes(OperatorAPI(context).routes())
    return app


def _access_of(request: web.Request) -> Access:
    if is_probe(request.path):
        return Access.PROBE
    if request.path.startswith(OPERATOR_PATH):
        return Access.OPERATOR
    return Access.INTERNAL if request.path in _INTERNAL else Access.PUBLIC


def _when_open(context: HandlerContext, handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        context.must_be_open()
        return await handler(request)

    return handle


def _command(context: HandlerContext, endpoint: Endpoint) -> Handler:
    binding = bind(endpoint)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, JSON_TYPE) if binding.body else b""
        given = {ArgumentSource.BODY: parsed(binding.body, body)} if binding.body else {}
        command = command_request_of(request, body)

        async def decide(meta: Meta) -> Any:
            return await context.call(binding, request, given | {ArgumentSource.META: meta})

        catch_up = context.view.catch_up if context.view else None
        return _response(endpoint, await context.commands.run(command, decide, catch_up))

    return handle


def _response(endpoint: Endpoint, outcome: Written | Unchanged) -> web.Response:
    """Render the outcome of a command; 204 if it has no content."""
    headers = {} if outcome.sequence is None else {SEQUENCE_HEADER: str(outcome.sequence)}
    if isinstance(outcome, Unchanged):
        content, status = outcome.content, HTTPStatus.OK
    else:
        event, status = outcome.events[0], HTTPStatus(endpoint.status)
        content = endpoint.response(event, outcome) if endpoint.response else event
        if endpoint.location:
            headers[hdrs.LOCATION] = endpoint.location.format_map(event.model_dump())
    if content is None or status is HTTPStatus.NO_CONTENT:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    return _json(content, status=status, headers=headers)


async def _react(context: HandlerContext, request: web.Request) -> web.StreamResponse:
    try:
        delivery = read_delivery(await read_all(request))
    except ValidationError as error:
        raise invalid(error) from None
    response = await context.reactor.handle(delivery)
    return web.Response(text=response.model_dump_json(exclude_none=True), content_type=JSON_TYPE)


def _describe(service: Service) -> Handler:
    description = _json(describe(service)).body

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=description, content_type=JSON_TYPE)

    return handle


def _json(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = pydantic_core.to_json(content)
    return web.Response(status=status, body=body, content_type=JSON_TYPE, headers=headers)
