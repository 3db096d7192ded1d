"""EventLogClient: how an instance meets the log: append, look up, follow. All that others see of the bus.

Every try of an append carries the same event ids, so that trying again is harmless.
"""

import asyncio
import json
import random
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import pydantic_core
from aiohttp import hdrs

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import BlogError, Conflict, StorageFull, TooLarge, Unavailable
from blog.core.events import BATCH_TYPE, Envelope, Recorded
from blog.core.instance import Instance
from blog.core.net.http_client import detail_of, read_response
from blog.core.web import INSTANCE_HEADER, bearer
from blog.eventlog.append_batcher import AppendBatcher
from blog.eventlog.wire import LOG_HEADER, Appended, Head
from blog.registry.client.discovery import Discovery

SERVICE = "bus"

_ATTEMPT_TIMEOUT = 2.0  # seconds for one try; a bus that hangs may have a successor by then
_PAUSE = (0.02, 0.2)  # seconds between tries, drawn evenly
_SILENCE = 40.0  # seconds without a line before a stream counts as broken; the bus speaks every 15
_READ_BUFFER = 1 << 20  # bytes read ahead while the page before is still being applied
_MAX_PAGE = 256 << 20  # bytes; a page of the largest events has half of that
_THROUGH = b'\n{"through":'  # no event begins so, and no string in one has a line break
_REFUSED: dict[int, type[BlogError]] = {
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLarge,
    HTTPStatus.INSUFFICIENT_STORAGE: StorageFull,
}
_TEMPORARY = frozenset({408, 421, 425, 429})

R = TypeVar("R")


@dataclass(frozen=True)
class EventBatch:
    """What a follower gets: events in log order; everything up to `through` has been considered.

    `lines` are the events as they came, one a line; they are read where `events` is first asked for.
    """

    log: str
    lines: bytes
    through: int

    @cached_property
    def events(self) -> list[Recorded]:
        """The events. Raises BusLost when the lines are none."""
        try:
            # each by itself: within an array one that the bus took might be nested too deeply
            rows = map(pydantic_core.from_json, self.lines.strip().splitlines())
            return [
                Recorded(row["sequence"], row["id"], row["type"], row["data"], row.get("dataversion"))
                for row in rows
            ]
        except (ValueError, LookupError, TypeError) as error:
            raise BusLost(f"The bus sent what is no event: {error!r}.") from error


class BusLost(BlogError):
    """The stream from the bus broke or there is no bus; whoever follows comes back from where it was."""


class _TryAgain(Exception):
    """The bus did not do it this time; nothing speaks against another try."""


class EventLogClient:
    """Talks to whichever bus `discovery` has ready, over `http`. An async context manager."""

    def __init__(
        self, discovery: Discovery, http: aiohttp.ClientSession, clock: Clock, token: str | None
    ) -> None:
        self._discovery = discovery
        self._http = http
        self._clock = clock
        self._headers = bearer(token)
        self._crew = TaskSupervisor("bus-append")
        self._appender: AppendBatcher[Appended] = AppendBatcher(self._send, self._crew)

    async def __aenter__(self) -> Self:
        """Be ready to append."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give up what is under way."""
        await self._crew.__aexit__()

    async def append(
        self,
        envelopes: Sequence[Envelope],
        *,
        expect: int | None = None,
        types: Collection[str] = (),
        timeout: float = 5.0,
    ) -> list[Appended]:
        """Append `envelopes` as one batch, all or none; return once the log has them on disk.

        With `expect`, nothing of the first envelope's key may have come behind that sequence; with
        types in `types`, none of these. Raises Conflict when something did, TooLarge, or Unavailable
        when it was not done in `timeout` seconds (it may be done all the same: append the same ids
        again).
        """
        events = [envelope.to_json() for envelope in envelopes]
        if expect is None:
            return await self._until_done(lambda: self._appender.append(events), timeout)
        # what is expected is about these events alone: they travel without others'
        body = f"[{','.join(events)}]".encode()
        return await self._until_done(lambda: self._send(body, _expectation(expect, types)), timeout)

    async def _send(self, body: bytes, params: Sequence[tuple[str, str]] = ()) -> list[Appended]:
        """Append a batch, once."""
        async with asyncio.timeout(_ATTEMPT_TIMEOUT):
            answer = await self._ask(
                hdrs.METH_POST,
                "/events",
                params=params,
                data=body,
                headers={hdrs.CONTENT_TYPE: BATCH_TYPE},
            )
        return [Appended(**result) for result in json.loads(answer or b"{}")["results"]]

    async def head(self, timeout: float = 5.0) -> Head:
        """Ask which log it is and how long. Raises Unavailable after `timeout` seconds."""
        answer = json.loads(await self._get("/events/head", timeout) or b"")
        return Head(answer["log"], answer["sequence"])

    async def get(self, event_id: str, timeout: float = 5.0) -> Envelope | None:
        """Look up the event `event_id`; None when the log has none. Raises Unavailable."""
        path = f"/events/{quote(event_id, safe='')}"
        answer = await self._get(path, timeout)
        return None if answer is None else Envelope.model_validate_json(answer)

    async def _get(self, path: str, timeout: float) -> bytes | None:
        return await self._until_done(lambda: self._ask(hdrs.METH_GET, path), timeout)

    async def follow(self, after: int, types: Collection[str] = ()) -> AsyncGenerator[EventBatch]:
        """Yield what comes after the sequence `after`, of `types` (none named: all), then live.

        One connection; raises BusLost when it breaks.
        """
        instance = self._discovery.next(SERVICE)
        if instance is None:
            raise BusLost("No event bus is known.")
        params = [("after", str(after)), ("follow", "true"), *(("type", name) for name in sorted(types))]
        try:
            async with self._request(
                instance,
                hdrs.METH_GET,
                "/events",
                params=params,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=_SILENCE),
                read_bufsize=_READ_BUFFER,
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise BusLost(f"The bus answered {response.status}.")
                async for batch in _batches(response):
                    yield batch
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise BusLost(f"The stream from the bus broke: {why}.") from error
        raise BusLost("The bus ended the stream.")

    async def _until_done(self, attempt: Callable[[], Awaitable[R]], timeout: float) -> R:
        """Try until it works. Raises Unavailable after `timeout` s, and what is refused for good."""
        deadline = self._clock.monotonic() + timeout
        why = "no event bus is known"
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _ATTEMPT_TIMEOUT)):
                    return await attempt()
            except _TryAgain as error:
                why = str(error)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = str(error) or why
            await asyncio.sleep(min(random.uniform(*_PAUSE), left))  # noqa: S311 - no secret
        raise Unavailable(
            f"The event bus did not answer within {timeout:g} s: {why}.", headers={"Retry-After": "1"}
        )

    async def _bus(self) -> Instance:
        """Wait until there is a bus to ask."""
        while True:
            instance = self._discovery.next(SERVICE)
            if instance is not None:
                return instance
            await self._discovery.wait_until(lambda table: bool(table.serving(SERVICE)))

    async def _ask(self, method: str, path: str, **options: Any) -> bytes | None:
        """Ask the bus once; return the body of its answer, None for 404."""
        async with self._request(await self._bus(), method, path, **options) as response:
            body = await read_response(response)
        status = response.status
        if status == HTTPStatus.OK:
            return body
        if method == hdrs.METH_GET and status == HTTPStatus.NOT_FOUND:
            return None
        refused = _REFUSED.get(status)
        if refused is None and (status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY):
            raise _TryAgain(f"it answered {status}")
        again = response.headers.get(hdrs.RETRY_AFTER)
        raise (refused or BlogError)(
            detail_of(body) or f"The bus answered {status}.",
            headers={hdrs.RETRY_AFTER: again} if again else {},
        )

    @asynccontextmanager
    async def _request(
        self,
        instance: Instance,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request to `instance`, which answers 421 if another one has its address now."""
        async with self._http.request(
            method,
            f"http://{instance.address}{path}",
            headers={**self._headers, INSTANCE_HEADER: instance.id, **(headers or {})},
            allow_redirects=False,
            **options,
        ) as response:
            yield response


async def _batches(response: aiohttp.ClientResponse) -> AsyncIterator[EventBatch]:
    """Read an NDJSON stream: events, and after each batch `{"through": N}`.

    What is cut off before that line was never said: it comes again.
    """
    log = response.headers[LOG_HEADER]
    held = bytearray(b"\n")
    seen = 0
    async for chunk in response.content.iter_any():
        held += chunk
        if len(held) > _MAX_PAGE:
            raise BusLost(f"The bus sent more than {_MAX_PAGE} bytes without saying how far it is.")
        while (begin := held.find(_THROUGH, seen)) >= 0 and (end := held.find(b"\n", begin + 1)) >= 0:
            yield EventBatch(log, bytes(held[:begin]), _number(held[begin + len(_THROUGH) : end]))
            # the line break stays: it is where the next line begins
            del held[:end]
            seen = 0
        seen = max(0, len(held) - len(_THROUGH)) if begin < 0 else begin


def _number(text: bytes | bytearray) -> int:
    """Read what stands behind `{"through":`."""
    digits = text.strip().removesuffix(b"}").strip()
    if not digits.isdigit():
        raise BusLost(f"The bus said it is through with {bytes(text)!r}.")
    return int(digits)


def _expectation(expect: int, types: Collection[str]) -> list[tuple[str, str]]:
    return [("expectedsequence", str(expect)), *(("expectedtype", name) for name in sorted(types))]
