"""Peers: how a handler calls other services: over the same rotation, and again where that is harmless.

Every call may be repeated: reads change nothing, and writes carry an `Idempotency-Key`.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import aiohttp
import pydantic_core
from aiohttp import hdrs
from multidict import CIMultiDictProxy
from yarl import URL

from blog.core.contract import PeerResponse
from blog.core.errors import STATUS, BlogError, DomainError, Malformed, TooLarge, TooMany, Unavailable
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.http_client import RESPONSE_LIMIT, parse_json, read_response
from blog.core.web import (
    AFTER_HEADER,
    AUTHOR_HEADER,
    IDEMPOTENCY_HEADER,
    INSTANCE_HEADER,
    SEQUENCE_HEADER,
    STALE_HEADER,
)
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery

TIMEOUT = 6.0
"""Seconds for one try: a little longer than a command has (5 s)."""
LIMIT = RESPONSE_LIMIT
"""Bytes of an answer."""
TRIES = 3
PATIENCE = 1.0
"""Seconds to wait for an instance where none is left to ask."""

# what a peer may say for itself; any other 5xx is its failure, not its answer
_BY_STATUS = {
    status: kind for kind, status in STATUS.items() if issubclass(kind, (DomainError, TooLarge, TooMany))
}
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')

log = get_logger()


class _PeerFailed(Exception):
    """This instance did not do it; another one may."""


class PeerClients:
    """The peers of one request: what they are asked carries its id, its trace and its author."""

    def __init__(self, member: Member, headers: Mapping[str, str]) -> None:
        self._member = member
        self._headers = headers

    def __getattr__(self, service: str) -> "PeerClient":
        """Return the service of this name."""
        return PeerClient(self._member, service, self._headers)


class PeerClient:
    """One service, whichever of its instances has its turn."""

    def __init__(self, member: Member, service: str, headers: Mapping[str, str]) -> None:
        self._member = member
        self._service = service
        self._headers = headers

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerResponse:
        """See `Peer.get`."""
        headers = {} if after is None else {AFTER_HEADER: str(after)}
        return await self._ask(hdrs.METH_GET, path, headers, params=params)

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """See `Peer.post`."""
        return await self._write(hdrs.METH_POST, path, content, author_token, key)

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> PeerResponse:
        """See `Peer.put`."""
        return await self._write(hdrs.METH_PUT, path, content, author_token, key)

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> PeerResponse:
        """See `Peer.delete`."""
        headers = {AUTHOR_HEADER: author_token, IDEMPOTENCY_HEADER: key}
        return await self._ask(hdrs.METH_DELETE, path, headers, params=params)

    async def _write(
        self, method: str, path: str, content: Any, author_token: str, key: str
    ) -> PeerResponse:
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            AUTHOR_HEADER: author_token,
            IDEMPOTENCY_HEADER: key,
        }
        return await self._ask(method, path, headers, data=pydantic_core.to_json(content))

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], **what: Any) -> PeerResponse:
        """Ask one instance after the other until one answers."""
        tried: set[str] = set()
        while len(tried) < TRIES:
            instance = await self._next(tried)
            if instance is None:
                break
            tried.add(instance.id)
            try:
                return await self._try(instance, method, path, headers, **what)
            except _PeerFailed as failure:
                log.info("peer.failed", id=instance.id, address=instance.address, why=str(failure))
        why = "does not answer" if tried else "is not running"
        raise Unavailable(f"The service {self._service} {why}.", headers={"Retry-After": "1"})

    async def _next(self, tried: set[str]) -> Instance | None:
        """Return whose turn it is; wait a little where there is nobody: they may just be coming."""
        discovery = self._member.discovery
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await discovery.wait_until(lambda table: _has_other(table, self._service, tried))
        return discovery.next(self._service, tried)

    async def _try(
        self, instance: Instance, method: str, path: str, headers: Mapping[str, str], **what: Any
    ) -> PeerResponse:
        try:
            async with self._member.http.request(
                method,
                f"http://{instance.address}{path}",
                headers={**self._headers, **headers, INSTANCE_HEADER: instance.id},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=1.0),
                allow_redirects=False,
                **what,
            ) as response:
                body = await read_response(response, LIMIT)
        except aiohttp.ClientConnectorError as error:
            self._member.registry_client.report_unhealthy(instance.id, str(error))
            raise _PeerFailed(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _PeerFailed(repr(error)) from error
        return _read(response.status, response.headers, body)


def _has_other(table: Discovery, service: str, tried: set[str]) -> bool:
    return any(instance.id not in tried for instance in table.serving(service))


def _read(status: int, headers: CIMultiDictProxy[str], body: bytes) -> PeerResponse:
    """Read an answer; problems are raised as the errors that they were."""
    is_elsewhere = status == HTTPStatus.MISDIRECTED_REQUEST
    if is_elsewhere or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _BY_STATUS):
        raise _PeerFailed(f"it answered {status}")
    content = _content(body)
    if status >= HTTPStatus.BAD_REQUEST:
        raise _problem(status, content, is_stale=STALE_HEADER in headers)
    link = _NEXT.search(headers.get(hdrs.LINK, ""))
    sequence = headers.get(SEQUENCE_HEADER)
    return PeerResponse(
        content,
        sequence=int(sequence) if sequence else None,
        is_stale=STALE_HEADER in headers,
        next=dict(URL(link[1]).query) if link else None,
    )


def _content(body: bytes) -> Any:
    try:
        return parse_json(body) if body else None
    except ValueError as error:
        raise _PeerFailed("what it answered is no JSON") from error


def _problem(status: int, content: Any, *, is_stale: bool) -> BlogError:
    """Make our error of a problem (RFC 9457); `is_stale`: the view had not caught up."""
    problem = content if isinstance(content, dict) else {}
    kinds: Mapping[int, type[BlogError]] = _BY_STATUS
    kind = kinds.get(status, Malformed)
    known = {"errors": problem["errors"]} if "errors" in problem else {}
    return kind(str(problem.get("detail", f"It answered {status}.")), is_stale=is_stale, **known)
