"""CORS: which sites may read responses (WHATWG Fetch §3.2). Pure.

Same origin unless the settings name others; services have nothing to do with it.
"""

from collections.abc import Collection

from blog.gateway.proxy.headers import Inspected

ANY = "*"
_MAX_AGE = "600"
_READABLE = "Blog-Sequence, Blog-Served-By, Blog-Stale, ETag, Link, Location, Retry-After, X-Request-Id"


def allowed_origin(origin: bytes | None, origins: Collection[str]) -> str | None:
    """Return the value of Access-Control-Allow-Origin for `origin`, None if it is not allowed."""
    if origin is None:
        return None
    if ANY in origins:
        return ANY
    text = origin.decode("latin-1")
    return text if text in origins else None


def is_preflight(method: bytes, inspected: Inspected) -> bool:
    """Return whether a browser asks if it may send the real request."""
    return (
        method == b"OPTIONS" and b"origin" in inspected and b"access-control-request-method" in inspected
    )


def preflight(requested_headers: bytes | None, origin: str, methods: Collection[str]) -> dict[str, str]:
    """Return the fields that respond to a preflight of an allowed `origin`, for a path with `methods`."""
    fields = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
        "Access-Control-Max-Age": _MAX_AGE,
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    if requested_headers:
        fields["Access-Control-Allow-Headers"] = requested_headers.decode("latin-1")
    return fields


def response_lines(origin: str | None) -> bytes:
    """Return the lines that let scripts of `origin` (as allowed; None: of no other site) read a response.

    Caches keep responses to different origins apart.
    """
    if origin is None:
        return b"Vary: Origin\r\n"
    return (
        f"Access-Control-Allow-Origin: {origin}\r\n"
        f"Access-Control-Expose-Headers: {_READABLE}\r\nVary: Origin\r\n"
    ).encode()
