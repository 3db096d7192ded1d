"""Every aiohttp client of ours: it asks for responses without a coding, and opens none.

The memory here is ours: a coding that nobody asked for is an error before the first byte of the body,
and a body that is read whole has a bound.
"""

import json
from typing import Any

import aiohttp
from aiohttp import hdrs

from blog.core.net.codings import ACCEPT_ENCODING, coding_of
from blog.core.net.resolver import connector

RESPONSE_LIMIT = 64 << 20
"""Bytes of a response that is read whole: a page of the longest posts, the table of a large registry."""


class UnexpectedCodingError(aiohttp.ClientPayloadError):
    """The response has a content coding, although none was requested."""


class ResponseTooLargeError(aiohttp.ClientPayloadError):
    """The response has more bytes than are accepted."""


def client_session(
    *, reads_bodies: bool = True, headers: dict[str, str] | None = None, **options: Any
) -> aiohttp.ClientSession:
    """Make a client; `options` are those of aiohttp's. It keeps no cookies.

    Without `reads_bodies` no body is ever read, and its coding does not matter.
    """
    if "connector" not in options:
        options["connector"] = connector()
    return aiohttp.ClientSession(
        headers={**(headers or {}), **ACCEPT_ENCODING},
        middlewares=(_refuse_codings,) if reads_bodies else (),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        **options,
    )


async def read_response(response: aiohttp.ClientResponse, limit: int = RESPONSE_LIMIT) -> bytes:
    """Read a response whole. Raises ResponseTooLargeError when it has more than `limit` bytes."""
    if (response.content_length or 0) > limit:
        raise _too_large(response, limit)
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise _too_large(response, limit)
    return bytes(body)


async def read_json(response: aiohttp.ClientResponse, limit: int = RESPONSE_LIMIT) -> Any:
    """Read a response as JSON. Raises ValueError when it is not, ResponseTooLargeError."""
    return parse_json(await read_response(response, limit))


def parse_json(body: bytes) -> Any:
    """Read JSON that another process wrote. Raises ValueError when it is not, however that shows."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def detail_of(problem: bytes) -> str:
    """Return what the body of a problem says (RFC 9457 §3.1.4), "" when it says nothing."""
    try:
        return str(parse_json(problem)["detail"])
    except (ValueError, LookupError, TypeError):
        return ""


async def _refuse_codings(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Pass on a response without a content coding. Raises UnexpectedCodingError."""
    response = await handler(request)
    coding = coding_of(response.headers.getall(hdrs.CONTENT_ENCODING, ()))
    if coding is not None:
        response.close()
        raise UnexpectedCodingError(
            f"{request.url.authority} responded with the content coding {coding}, which was not requested"
        )
    return response


def _too_large(response: aiohttp.ClientResponse, limit: int) -> ResponseTooLargeError:
    response.close()
    return ResponseTooLargeError(f"{response.url.authority} responded with more than {limit} bytes")
