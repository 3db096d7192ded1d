"""CORS (WHATWG Fetch §3.3) for the public door: none by default, by setting for named origins."""

from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

_EXPOSED = "Blog-Sequence, Blog-Served-By, Blog-Stale, ETag, Link, Location"
_MAX_AGE = "600"


def allows_origins(origins: Collection[str]) -> Middleware:
    """Make the middleware that answers preflights of pages of `origins` ("*": any)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not (origin in origins or "*" in origins):
            return await handler(request)
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
        if request.method == hdrs.METH_OPTIONS and wanted is not None:
            return _preflight(request, origin, wanted)
        return await handler(request)

    return check


def cors_headers(request: web.Request, origins: Collection[str]) -> dict[str, str]:
    """Return what an answer to a page of another origin carries; nothing for others."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not (origin in origins or "*" in origins):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED,
        hdrs.VARY: hdrs.ORIGIN,
    }


def _preflight(request: web.Request, origin: str, method: str) -> web.Response:
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: method,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: asked,
            hdrs.ACCESS_CONTROL_MAX_AGE: _MAX_AGE,
            hdrs.VARY: f"{hdrs.ORIGIN}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}",
        },
    )
