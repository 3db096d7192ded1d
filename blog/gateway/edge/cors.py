"""CORS: who may read answers across sites (WHATWG Fetch §3.2). Pure.

Same origin unless the settings name others; services never hear of it.
"""

from collections.abc import Collection

from blog.gateway.proxy.headers import Noted

ANY = "*"
_MAX_AGE = "600"
_READABLE = "Blog-Sequence, Blog-Served-By, Blog-Stale, ETag, Link, Location, Retry-After, X-Request-Id"


def allowed_origin(origin: bytes | None, origins: Collection[str]) -> str | None:
    """Return what to answer to `origin`: itself, `*`, or None for no."""
    if origin is None:
        return None
    if ANY in origins:
        return ANY
    named = origin.decode("latin-1")
    return named if named in origins else None


def is_preflight(method: bytes, noted: Noted) -> bool:
    """Tell whether a browser asks if it may send the real request."""
    return method == b"OPTIONS" and b"origin" in noted and b"access-control-request-method" in noted


def preflight(wanted_fields: bytes | None, origin: str, methods: Collection[str]) -> dict[str, str]:
    """Answer a preflight of an allowed `origin` for a path that takes `methods`."""
    answer = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
        "Access-Control-Max-Age": _MAX_AGE,
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    if wanted_fields:
        answer["Access-Control-Allow-Headers"] = wanted_fields.decode("latin-1")
    return answer


def share(origin: str | None) -> bytes:
    """Return the lines that let scripts of `origin` (as allowed; None: nobody) read an answer.

    Caches keep answers to different origins apart.
    """
    if origin is None:
        return b"Vary: Origin\r\n"
    return (
        f"Access-Control-Allow-Origin: {origin}\r\n"
        f"Access-Control-Expose-Headers: {_READABLE}\r\nVary: Origin\r\n"
    ).encode()
