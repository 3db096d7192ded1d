"""Log adoption: an operator's request to a registry that another log is the one of this blog."""

from http import HTTPStatus

import aiohttp

from blog.core.net.http_client import detail_of, parse_json, read_response
from blog.core.printable import printable
from blog.core.web import bearer
from blog.registry.log_identity import LOG_PATH

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_LIMIT = 64 << 10  # bytes of a response
_SHOWN = 400
_NO_ROUTE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class AdoptionRefusedError(Exception):
    """The registry does not adopt the log; the message says why, in one printable line.

    `is_unknown`: it is older, or no registry, and will never do it.
    """

    def __init__(self, why: str, *, is_unknown: bool = False) -> None:
        super().__init__(why)
        self.is_unknown = is_unknown


async def adopt_log(
    http: aiohttp.ClientSession, url: str, identity: str, token: str | None = None
) -> None:
    """Make `identity` the log that the registry at `url` knows.

    It may be known there already, then a refusal does not matter; it is asked all the same, for what is
    known may be a claim.

    Raises AdoptionRefusedError, aiohttp.ClientError, OSError (TimeoutError is one).
    """
    async with http.put(
        f"{url}{LOG_PATH}", json={"log": identity}, headers=bearer(token), timeout=_TIMEOUT
    ) as response:
        body = await read_response(response, _LIMIT)
    if response.status == HTTPStatus.OK or await _known_at(http, url, token) == identity:
        return
    if response.status in _NO_ROUTE:
        raise AdoptionRefusedError("it is of a version that cannot adopt a log", is_unknown=True)
    said = printable(detail_of(body), _SHOWN)
    raise AdoptionRefusedError(said or f"it responded with {response.status}")


async def _known_at(http: aiohttp.ClientSession, url: str, token: str | None) -> str | None:
    """Return the log that a registry knows; None where it does not say."""
    async with http.get(f"{url}{LOG_PATH}", headers=bearer(token), timeout=_TIMEOUT) as response:
        body = await read_response(response, _LIMIT)
    try:
        known = parse_json(body)["log"] if response.status == HTTPStatus.OK else None
    except (ValueError, LookupError, TypeError):
        return None
    return known if isinstance(known, str) else None
