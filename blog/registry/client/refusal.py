"""Refusal: why a registry refused a session, in its own words, and what to do about it."""

from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from blog.core.net.http_client import detail_of, read_response
from blog.core.printable import printable

SESSION = "/v1/session"
_TIMEOUT = aiohttp.ClientTimeout(total=2)
_SHOWN = 400  # characters of a reason
_LIMIT = 64 << 10  # bytes of a response that is no session
_NEXT: dict[tuple[int, bool], str] = {
    (HTTPStatus.UNAUTHORIZED, False): "set BLOG_TOKEN to the token of that registry",
    (HTTPStatus.UNAUTHORIZED, True): "our BLOG_TOKEN is another one than that registry has: set the same",
    (HTTPStatus.FORBIDDEN, False): "set BLOG_TOKEN there and here",
    (HTTPStatus.FORBIDDEN, True): "that registry has no BLOG_TOKEN: set ours there",
}
_ELSEWHERE = "set BLOG_REGISTRY if the registry (in the gateway) is elsewhere"


class Refusal(NamedTuple):
    """The status of a refusal, its reason, and what to do."""

    status: int
    reason: str
    next: str


def is_refusal(error: BaseException) -> bool:
    """Return whether a handshake failed because it was refused: trying again alone does not help."""
    # 5xx is a registry, or a proxy before it, that cannot respond now
    return (
        isinstance(error, aiohttp.WSServerHandshakeError)
        and HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    )


async def refusal_of(
    http: aiohttp.ClientSession, url: str, headers: dict[str, str], error: aiohttp.WSServerHandshakeError
) -> Refusal:
    """Explain `error`. Never raises.

    The response of a failed handshake is gone with its body: the same is asked without an upgrade.
    """
    reason = ""
    try:
        async with http.get(
            url + SESSION, headers=headers, timeout=_TIMEOUT, allow_redirects=False
        ) as response:
            if response.status == error.status:
                reason = detail_of(await read_response(response, _LIMIT))
    except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
        pass
    shown = printable(reason, _SHOWN) or f"it responded with {error.status}"
    return Refusal(error.status, shown, _NEXT.get((error.status, bool(headers)), _ELSEWHERE))
