"""Queries: request → rows → answer. Hot ones are answered from bytes while the view stands still.

A hot answer costs no thread, no SQL and no rendering. It is never older than what `ViewHost.applied`
says, and never an author's own.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pydantic_core
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from blog.core.contract import Document, Endpoint, Page
from blog.core.errors import BlogError, Invalid
from blog.core.web import AFTER_HEADER, AUTHOR_HEADER, SEQUENCE_HEADER, STALE_HEADER, etag_of, has_already
from blog.runtime.binding import ArgumentSource, Binding, bind
from blog.runtime.handler_context import HandlerContext, base_url
from blog.runtime.view.cache import CachedResponse, ResponseCache
from blog.runtime.view.host import ViewHost

JSON_TYPE = "application/json"

_AFTER_TIMEOUT = 1.0
_MAX_PATH = 1000  # characters of a path with its query that an answer is kept under
_MAX_DIGITS = 18  # of a sequence: it fits in 64 bits


def query(host: HandlerContext, endpoint: Endpoint) -> Handler:
    """Make the aiohttp handler of a query."""
    binding = bind(endpoint)
    hot = ResponseCache() if endpoint.is_cached else None

    async def answer(request: web.Request) -> CachedResponse:
        found = await host.call(binding, request, {ArgumentSource.META: host.meta(request)})
        return render(found, request.path)

    async def handle(request: web.Request) -> web.StreamResponse:
        wanted = wanted_sequence(binding, request)
        view = host.view
        if view is None:
            return as_response(await answer(request), request)
        is_common = AUTHOR_HEADER not in request.headers and len(request.raw_path) <= _MAX_PATH
        if hot is not None and is_common:
            return await _hot_answer(hot, view, wanted, request, answer)
        return await _answer_after(view, wanted, request, answer)

    return handle


Answer = Callable[[web.Request], Awaitable[CachedResponse]]


async def _hot_answer(
    hot: ResponseCache, view: ViewHost, wanted: int, request: web.Request, answer: Answer
) -> web.StreamResponse:
    key = (base_url(request), request.raw_path)
    if wanted > view.applied:
        # a late view is late for this reader only: what it shows is not kept under this key
        return await _answer_after(view, wanted, request, answer)
    # before the rows are read: what changes meanwhile makes the answer a thing of the past
    changed = view.changed
    rendered = hot.find(key, changed)
    if rendered is None:
        rendered = await answer(request)
        hot.keep(key, changed, rendered)
    return as_response(rendered, request)


async def _answer_after(
    view: ViewHost, wanted: int, request: web.Request, answer: Answer
) -> web.StreamResponse:
    """Answer once the view has the sequence `wanted`; if it is late, say so."""
    is_late = wanted > view.applied and not await view.wait_for(wanted, _AFTER_TIMEOUT)
    stale = {STALE_HEADER: "true"} if is_late else {}
    try:
        response = as_response(await answer(request), request)
    except BlogError as error:
        # not there, or not there yet
        error.headers.update(stale)
        raise
    response.headers.update(stale)
    return response


def wanted_sequence(binding: Binding, request: web.Request) -> int:
    """Return the sequence that the client has seen written: its answer has to know it; 0 for none.

    Raises Invalid when it is no number.
    """
    wanted = request.headers.get(AFTER_HEADER)
    if wanted is None and "after" not in binding.query_names():
        wanted = request.query.get("after")
    if wanted is None:
        return 0
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= _MAX_DIGITS):
        raise Invalid(f"{AFTER_HEADER}: give the number from {SEQUENCE_HEADER}")
    return int(wanted)


def render(answer: Any, path: str) -> CachedResponse:
    """Make the bytes and headers of what a query returned; pages say where the next one is."""
    # what an author may see differs from what others see
    headers: dict[str, str] = {
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: AUTHOR_HEADER,
        hdrs.CONTENT_TYPE: JSON_TYPE,
    }
    if isinstance(answer, Document):
        body = answer.content
        headers[hdrs.CONTENT_TYPE] = answer.content_type
    else:
        body = pydantic_core.to_json(answer.content if isinstance(answer, Page) else answer)
    if isinstance(answer, Page) and answer.next:
        headers[hdrs.LINK] = f'<{URL(path).with_query(answer.next)}>; rel="next"'
    return CachedResponse(body, etag_of(body), headers)


def as_response(rendered: CachedResponse, request: web.Request) -> web.Response:
    """Send it, or say that the client has it already (RFC 9110 §15.4.5)."""
    if has_already(request, rendered.etag):
        headers = {name: value for name, value in rendered.headers.items() if name != hdrs.CONTENT_TYPE}
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=rendered.body, headers=rendered.headers)
    response.etag = rendered.etag
    return response
