"""Queries: request → rows → response. Those declared with `cache` are cached until the view changes.

A cached response costs no thread, no SQL and no rendering. It is never older than what
`ViewHost.applied` says, and never an author's own.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pydantic_core
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from blog.core.contract import Document, Endpoint, Page
from blog.core.errors import BlogError, Invalid
from blog.core.numbers import whole
from blog.core.web import (
    AFTER_HEADER,
    AUTHOR_HEADER,
    SEQUENCE_HEADER,
    STALE_HEADER,
    etag_of,
    matches_etag,
)
from blog.runtime.binding import ArgumentSource, Binding, bind
from blog.runtime.handler_context import HandlerContext, base_url
from blog.runtime.view.cache import CachedResponse, ResponseCache
from blog.runtime.view.host import ViewHost

JSON_TYPE = "application/json"

_AFTER_TIMEOUT = 1.0
_MAX_PATH = 1000  # characters of a path with its query that can be a key of the cache


def query(context: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of a query."""
    binding = bind(endpoint)
    cache = ResponseCache() if endpoint.is_cached else None

    async def compute(request: web.Request) -> CachedResponse:
        result = await context.call(binding, request, {ArgumentSource.META: context.meta(request)})
        return render(result, request.path)

    async def handle(request: web.Request) -> web.StreamResponse:
        required = required_sequence(binding, request)
        view = context.view
        if view is None:
            return as_response(await compute(request), request)
        is_cacheable = AUTHOR_HEADER not in request.headers and len(request.raw_path) <= _MAX_PATH
        if cache is not None and is_cacheable:
            return await _cached_response(cache, view, required, request, compute)
        return await _response_after(view, required, request, compute)

    return handle


Compute = Callable[[web.Request], Awaitable[CachedResponse]]


async def _cached_response(
    cache: ResponseCache, view: ViewHost, required: int, request: web.Request, compute: Compute
) -> web.StreamResponse:
    key = (base_url(request), request.raw_path)
    if required > view.applied:
        # a stale view is stale for this reader only: the response is not cached
        return await _response_after(view, required, request, compute)
    # before the rows are read: a change meanwhile makes the response outdated
    generation = view.generation
    response = cache.get(key, generation)
    if response is None:
        response = await compute(request)
        cache.put(key, generation, response)
    return as_response(response, request)


async def _response_after(
    view: ViewHost, required: int, request: web.Request, compute: Compute
) -> web.StreamResponse:
    """Respond once the view has the sequence `required`, or mark the response as stale."""
    is_stale = required > view.applied and not await view.wait_for(required, _AFTER_TIMEOUT)
    stale = {STALE_HEADER: "true"} if is_stale else {}
    try:
        response = as_response(await compute(request), request)
    except BlogError as error:
        # not there, or not there yet
        error.headers.update(stale)
        raise
    response.headers.update(stale)
    return response


def required_sequence(binding: Binding, request: web.Request) -> int:
    """Return the sequence that the response has to include, because the client saw it; 0 for none.

    Raises Invalid when it is not a number.
    """
    required = request.headers.get(AFTER_HEADER)
    if required is None and "after" not in binding.query_names():
        required = request.query.get("after")
    if required is None:
        return 0
    if (sequence := whole(required)) is None:
        raise Invalid(f"{AFTER_HEADER}: send the number from {SEQUENCE_HEADER}")
    return sequence


def render(result: Any, path: str) -> CachedResponse:
    """Make the bytes and headers of what a query returned; pages link to the next one."""
    # an author may see more than others
    headers: dict[str, str] = {
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: AUTHOR_HEADER,
        hdrs.CONTENT_TYPE: JSON_TYPE,
    }
    if isinstance(result, Document):
        body = result.content
        headers[hdrs.CONTENT_TYPE] = result.content_type
    else:
        body = pydantic_core.to_json(result.content if isinstance(result, Page) else result)
    if isinstance(result, Page) and result.next:
        headers[hdrs.LINK] = f'<{URL(path).with_query(result.next)}>; rel="next"'
    return CachedResponse(body, etag_of(body), headers)


def as_response(cached: CachedResponse, request: web.Request) -> web.Response:
    """Make the response, 304 if the client has it already (RFC 9110 §15.4.5)."""
    if matches_etag(request, cached.etag):
        headers = {name: value for name, value in cached.headers.items() if name != hdrs.CONTENT_TYPE}
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=cached.body, headers=cached.headers)
    response.etag = cached.etag
    return response
