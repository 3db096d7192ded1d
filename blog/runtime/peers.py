"""Peers: how a handler calls other services: load-balanced by the table, and retried.

Every call may be repeated: reads change nothing, and writes carry an `Idempotency-Key`.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pydantic_core
from aiohttp import hdrs
from yarl import URL

from blog.core.contract import PeerResponse
from blog.core.errors import STATUS, BlogError, DomainError, Malformed, TooLarge, TooMany, Unavailable
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.net.http_client import RESPONSE_LIMIT, parse_json
from blog.core.net.instance_client import InstanceClient, InstanceError, InstanceResponse
from blog.core.web import (
    AFTER_HEADER,
    AUTHOR_HEADER,
    IDEMPOTENCY_HEADER,
    SEQUENCE_HEADER,
    STALE_HEADER,
)
from blog.lifecycle.member import Member
from blog.registry.client.discovery import Discovery

TIMEOUT = 6.0
"""Seconds for one attempt: a little longer than a command may take (5 s)."""
LIMIT = RESPONSE_LIMIT
"""Bytes of a response."""
MAX_ATTEMPTS = 3
DISCOVERY_TIMEOUT = 1.0
"""Seconds to wait for an instance that was not tried yet."""

# errors that a peer raises itself; any other 5xx is its failure, not its response
_BY_STATUS = {
    status: kind for kind, status in STATUS.items() if issubclass(kind, (DomainError, TooLarge, TooMany))
}
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')

log = get_logger()


class _PeerFailed(Exception):
    """This instance failed; another one may not."""


class PeerClients:
    """The peers of one request: calls carry its id, its trace and its author."""

    def __init__(self, member: Member, headers: Mapping[str, str]) -> None:
        self._member = member
        self._headers = headers

    def __getattr__(self, service: str) -> "PeerClient":
        """Return the service of this name."""
        return PeerClient(self._member, service, self._headers)


class PeerClient:
    """One service; each call selects an instance."""

    def __init__(self, member: Member, service: str, headers: Mapping[str, str]) -> None:
        self._member = member
        self._service = service
        self._headers = headers

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerResponse:
        """See `Peer.get`."""
        headers = {} if after is None else {AFTER_HEADER: str(after)}
        return await self._call(hdrs.METH_GET, path, headers, params=params)

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
        return await self._call(hdrs.METH_DELETE, path, headers, params=params)

    async def _write(
        self, method: str, path: str, content: Any, author_token: str, key: str
    ) -> PeerResponse:
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            AUTHOR_HEADER: author_token,
            IDEMPOTENCY_HEADER: key,
        }
        return await self._call(method, path, headers, data=pydantic_core.to_json(content))

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], **parts: Any
    ) -> PeerResponse:
        """Call one instance after the other until one responds."""
        tried: set[str] = set()
        while len(tried) < MAX_ATTEMPTS:
            instance = await self._select(tried)
            if instance is None:
                break
            tried.add(instance.id)
            try:
                return await self._attempt(instance, method, path, headers, **parts)
            except (_PeerFailed, InstanceError) as failure:
                log.info("peer.failed", id=instance.id, address=instance.address, reason=str(failure))
        why = "does not respond" if tried else "is not running"
        raise Unavailable(f"The service {self._service} {why}.", headers={"Retry-After": "1"})

    async def _select(self, tried: set[str]) -> Instance | None:
        """Return the next instance; wait a little if there is none: it may just be starting."""
        discovery = self._member.discovery
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCOVERY_TIMEOUT):
                await discovery.wait_until(lambda table: _has_other(table, self._service, tried))
        return discovery.next(self._service, tried)

    async def _attempt(
        self, instance: Instance, method: str, path: str, headers: Mapping[str, str], **parts: Any
    ) -> PeerResponse:
        client = InstanceClient(self._member.http, report=self._member.registry_client.report_unhealthy)
        headers = {**self._headers, **headers}
        response = await client.request(
            instance, method, path, timeout=TIMEOUT, headers=headers, limit=LIMIT, **parts
        )
        return _parse(response)


def _has_other(table: Discovery, service: str, tried: set[str]) -> bool:
    return any(instance.id not in tried for instance in table.serving(service))


def _parse(response: InstanceResponse) -> PeerResponse:
    """Read a response; problems are raised as the errors that they were made from."""
    status, headers, body = response
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _BY_STATUS:
        raise _PeerFailed(f"its response has the status {status}")
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
        raise _PeerFailed("its response is not valid JSON") from error


def _problem(status: int, content: Any, *, is_stale: bool) -> BlogError:
    """Make our error of a problem (RFC 9457); `is_stale`: the view had not caught up."""
    problem = content if isinstance(content, dict) else {}
    kinds: Mapping[int, type[BlogError]] = _BY_STATUS
    kind = kinds.get(status, Malformed)
    known = {"errors": problem["errors"]} if "errors" in problem else {}
    detail = str(problem.get("detail", f"The status of the response is {status}."))
    return kind(detail, is_stale=is_stale, **known)
