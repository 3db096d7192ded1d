"""CORS: who may read answers across sites (WHATWG Fetch §3.2). Pure.

Same origin unless the settings name others; services never hear of it.
"""

from collections.abc import Collection, Mapping

from aiohttp import hdrs
from multidict import CIMultiDict

ANY = "*"
_MAX_AGE = "600"
_READABLE = "Blog-Sequence, Blog-Served-By, Blog-Stale, ETag, Link, Location, Retry-After, X-Request-Id"


def allowed_origin(origin: str | None, origins: Collection[str]) -> str | None:
    """Return what to answer to `origin`: itself, `*`, or None for no."""
    if origin is None:
        return None
    if ANY in origins:
        return ANY
    return origin if origin in origins else None


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks if it may send the real request."""
    return (
        method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in headers
    )


def preflight(headers: Mapping[str, str], origin: str, methods: Collection[str]) -> CIMultiDict[str]:
    """Answer a preflight of an allowed `origin` for a path that takes `methods`."""
    answer: CIMultiDict[str] = CIMultiDict()
    answer[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    answer[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ", ".join(sorted(methods))
    answer[hdrs.ACCESS_CONTROL_MAX_AGE] = _MAX_AGE
    answer[hdrs.VARY] = f"{hdrs.ORIGIN}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}"
    if wanted := headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS):
        answer[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = wanted
    return answer


def share(headers: CIMultiDict[str], origin: str | None) -> None:
    """Let scripts of `origin` (as allowed; None: nobody) read an answer with `headers`.

    What the instance said about it is dropped; caches keep answers to different origins apart.
    """
    for name in [name for name in headers if name.lower().startswith("access-control-")]:
        headers.popall(name, None)
    if origin is not None:
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READABLE
    headers.add(hdrs.VARY, hdrs.ORIGIN)
