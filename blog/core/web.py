"""What all our aiohttp servers have in common: problems, who may ask, the instance that is meant.

Errors are sent as RFC 9457 `application/problem+json`. The contract rooms never import this module.
"""

import hashlib
import json
from http import HTTPStatus
from typing import TypeVar, overload

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ValidationError

from blog.core.errors import (
    STATUS,
    BlogError,
    ExpectationFailed,
    Invalid,
    Malformed,
    MethodNotAllowed,
    Misdirected,
    NoRoute,
    TooLarge,
    UnsupportedMedia,
    status_of,
)
from blog.core.logs import get_logger
from blog.core.numbers import whole

INSTANCE_HEADER = "Blog-Instance"
REQUEST_ID_HEADER = "X-Request-Id"
SEQUENCE_HEADER = "Blog-Sequence"
AFTER_HEADER = "Blog-After"
STALE_HEADER = "Blog-Stale"
AUTHOR_HEADER = "Blog-Author-Token"
IDEMPOTENCY_HEADER = "Idempotency-Key"
PAGE_HEADERS = frozenset({"origin", "sec-fetch-site"})
"""What no web page can leave out, in lower case. Browsers send `Origin` with all but GET and HEAD, and
with a WebSocket (Fetch §3.2), `Sec-Fetch-Site` to loopback and over TLS only (Fetch Metadata §2)."""
BROWSER_HEADERS = PAGE_HEADERS | {"sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user", "accept-language"}
"""What browsers send besides. `Accept-Language` is in every request (Fetch §4.1), also when a name of the
page leads here (DNS rebinding)."""
PROBLEM_TYPE = "application/problem+json"
UNEXPECTED = "Internal error; your request is not the cause."
"""The detail of an error that nobody expected."""
EXPECTATION = web.RequestKey("expectation", str)
"""What a request expects (`Expect`) before it sends its body, until that is met."""
_BY_STATUS: dict[int, type[BlogError]] = {
    status: kind for kind, status in STATUS.items() if kind is not NoRoute
} | {HTTPStatus.NOT_FOUND: NoRoute}

M = TypeVar("M", bound=BaseModel)

log = get_logger()


def problem(error: BlogError, request_id: str | None = None) -> web.Response:
    """Render `error` as a problem (RFC 9457 §3); `request_id` becomes its `instance`."""
    return web.Response(
        status=status_of(error),
        body=problem_body(error, request_id),
        content_type=PROBLEM_TYPE,
        headers=error.headers,
    )


def problem_body(error: BlogError, request_id: str | None = None) -> bytes:
    """Render the body of a problem."""
    status = status_of(error)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.detail,
        **({"instance": f"urn:request:{request_id}"} if request_id else {}),
        **error.extensions,
    }
    # what a client sent, in a header for example, need not be text: it must not break this response
    return json.dumps(body, ensure_ascii=False, default=str).encode(errors="replace")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond to every error with a problem. An unexpected one is logged with its traceback, as 500."""
    try:
        return await handler(request)
    except BlogError as error:
        return problem(error, request.headers.get(REQUEST_ID_HEADER))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return problem(_translated(error), request.headers.get(REQUEST_ID_HEADER))
    except Exception:
        log.exception("request.failed", method=request.method, path=request.path)
        return problem(
            BlogError(UNEXPECTED),
            request.headers.get(REQUEST_ID_HEADER),
        )


def is_probe(path: str) -> bool:
    """Return whether `path` is a probe of orchestrators, which have no token."""
    return path in ("/healthz", "/readyz")


def bearer(secret: str | None) -> dict[str, str]:
    """Return the header with the token that we send; none without one."""
    return {hdrs.AUTHORIZATION: f"Bearer {secret}"} if secret else {}


def requires_instance(instance_id: str) -> Middleware:
    """Make the middleware that rejects requests meant for another instance: 421, unprocessed.

    Addresses are reused; a request that names no instance in `Blog-Instance` passes.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        requested = request.headers.get(INSTANCE_HEADER)
        if requested is not None and requested != instance_id:
            # the id is a secret from web pages: whoever knows it passes for the gateway
            is_page = any(name.lower() in BROWSER_HEADERS for name in request.headers)
            raise misdirected(None if is_page else instance_id)
        return await handler(request)

    return check


def misdirected(instance_id: str | None) -> Misdirected:
    """Make the error for a request that means another instance than this one; None: it is not told."""
    this = "an instance" if instance_id is None else f"the instance {instance_id}"
    return Misdirected(
        f"This is {this}, another one is meant.",
        headers={} if instance_id is None else {INSTANCE_HEADER: instance_id},
    )


def unsupported(content_type: str, *content_types: str) -> UnsupportedMedia:
    """Make the error for a content type that is not one of `content_types`."""
    return UnsupportedMedia(
        f"Send {' or '.join(content_types)}, not {content_type}.",
        headers={hdrs.ACCEPT: ", ".join(content_types)},
    )


def expectation_failed() -> ExpectationFailed:
    """Make the error for an `Expect` other than 100-continue."""
    return ExpectationFailed("The only expectation that is supported is 100-continue.")


def revalidated(request: web.Request, response: web.Response) -> web.Response:
    """Give the response an ETag; make it 304 if the client has it (RFC 9110 §13.1.2, §15.4.5)."""
    assert isinstance(response.body, bytes)
    response.etag = etag = etag_of(response.body)
    if matches_etag(request, etag):
        response.body = None
        response.set_status(HTTPStatus.NOT_MODIFIED)
        response.headers.popall(hdrs.CONTENT_TYPE, None)
    return response


def etag_of(body: bytes) -> str:
    """Return the entity tag of `body` (RFC 9110 §8.8.3)."""
    return hashlib.sha256(body).hexdigest()[:32]


def matches_etag(request: web.Request, etag: str) -> bool:
    """Return whether the client has the representation `etag` already (RFC 9110 §13.1.2)."""
    known = {tag.value for tag in request.if_none_match or ()}
    return etag in known or "*" in known


async def read_body(request: web.Request, *content_types: str) -> bytes:
    """Read the body of a request whose content type is one of `content_types`.

    Raises UnsupportedMedia, and what `read_all` raises.
    """
    if request.content_type not in content_types:
        raise unsupported(request.content_type, *content_types)
    return await read_all(request)


async def read_all(request: web.Request) -> bytes:
    """Read the body of a request. All errors are the client's.

    Raises TooLarge when it is over the app's `client_max_size`, Malformed when it ends early.
    """
    try:
        await _send_continue(request)
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge("The body is too large.") from error
    except (web.RequestPayloadError, HttpProcessingError, OSError) as error:
        raise Malformed("The body is incomplete, or its chunks are not valid (RFC 9112 §7.1).") from error


async def _send_continue(request: web.Request) -> None:
    """Send 100 Continue to a client that waits for it (RFC 9110 §10.1.1)."""
    if request.pop(EXPECTATION, None) is not None and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the final response has not begun


def parsed(model: type[M], body: bytes | str) -> M:
    """Read JSON `body` as `model`.

    Raises Malformed when it is not valid JSON (invalid UTF-8 and too deep nesting included), Invalid
    with `errors: [{loc, msg}]` when it does not fit the model.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


@overload
def number(request: web.Request, name: str) -> int | None: ...


@overload
def number(request: web.Request, name: str, default: int) -> int: ...


def number(request: web.Request, name: str, default: int | None = None) -> int | None:
    """Read a whole number from the query. Raises Invalid."""
    text = request.query.get(name)
    if text is None:
        return default
    return whole_number(name, text)


def whole_number(name: str, text: str) -> int:
    """Read the parameter `name` as a whole number. Raises Invalid."""
    if (value := whole(text)) is None:
        raise Invalid(f"{name}: must be a whole number")
    return value


def invalid(error: ValidationError) -> BlogError:
    """Translate pydantic's error into ours, without echoing the input."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return Malformed(f"The body is not valid JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}.")
    errors = [{"loc": [str(part) for part in item["loc"]], "msg": item["msg"]} for item in found]
    first = errors[0]
    return Invalid(f"{'.'.join(first['loc']) or 'input'}: {first['msg']}", errors=errors)


def _translated(error: web.HTTPException) -> BlogError:
    """Translate aiohttp's own errors, which are raised before any handler of ours."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"Allowed methods: {allowed}.", headers={hdrs.ALLOW: allowed})
    kind = _BY_STATUS.get(
        error.status, BlogError if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Malformed
    )
    return kind(error.text or error.reason)
