"""Link: the connection with one registry, kept for as long as the session lasts. Knows no rules.

It connects, says hello, beats, and hands on what it hears; when it breaks it comes back, for ever.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType
from pydantic import BaseModel, ValidationError

from blog.core.instance import Load
from blog.core.logs import get_logger
from blog.core.web import bearer
from blog.registry.messages import Beat, FromRegistry, Join, encode, parse_from_registry
from blog.registry.workers import Workers

BEAT_EVERY = 1.0
"""Seconds between two beats."""

_FIRST_TRIES = 10
_CONNECT_TIMEOUT = 5.0
_HEARTBEAT = 6.0  # seconds between WebSocket pings: finds out that a registry's machine is gone
_CLOSE_TIMEOUT = 0.3
_NO_SUCH_NAME = "its host name does not resolve: correct BLOG_REGISTRY, or start the registry under that name"
_NOBODY_THERE = "nothing answers there yet: start the gateway (or `blog registry`), or correct BLOG_REGISTRY"
_WRONG_TOKEN = "its token is another one: set BLOG_TOKEN to the token of that blog"  # noqa: S105 - advice

log = get_logger()


def reconnect_delay(tries: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Return how many seconds to wait after the failed try number `tries` (from 0): full jitter.

    Grows from 50 ms; at most 1 s for the first 10 tries, 10 s later.
    """
    cap = 1.0 if tries < _FIRST_TRIES else 10.0
    return draw(0.0, min(cap, 0.05 * 2 ** min(tries, 32)))


class Link:
    """One registry at `url`.

    `hello` makes the join message from the local host of the connection, `hear` takes each message,
    `lost` is told when a connection ended. While `running` is not set, nothing is said or heard.
    """

    def __init__(  # noqa: PLR0913 - a connection and the four sides of its owner
        self,
        url: str,
        http: aiohttp.ClientSession,
        token: str | None,
        *,
        hello: Callable[[str], Join],
        hear: Callable[["Link", FromRegistry], Awaitable[None]],
        lost: Callable[["Link"], Awaitable[None]],
        load: Callable[[], Load],
        running: asyncio.Event,
    ) -> None:
        self.url = url.rstrip("/")
        self.is_joined = False
        self._http = http
        self._token = token
        self._hello, self._hear, self._lost, self._load = hello, hear, lost, load
        self._running = running
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._workers = Workers()
        self._drained = asyncio.Event()
        self._is_closed = False
        self._tries = 0
        self._complaint = ""

    async def keep(self) -> None:
        """Stay connected until `close`."""
        while not self._is_closed:
            try:
                await self._converse()
            except (aiohttp.ClientError, OSError, ValidationError) as error:
                self._complain(error)
            if not self._is_closed:
                await asyncio.sleep(reconnect_delay(self._tries))
                self._tries += 1

    async def send(self, message: BaseModel) -> bool:
        """Say `message`; False when there is no connection or it just broke."""
        await self._running.wait()
        if self._socket is None or self._socket.closed:
            return False
        try:
            await self._socket.send_str(encode(message))
        except (aiohttp.ClientError, OSError):
            return False
        return True

    def start(self, work: Any) -> None:
        """Run the coroutine `work` while this connection lasts."""
        self._workers.start(work)

    def welcome(self) -> None:
        """Note that the registry let us in: the next reconnect begins fast again."""
        self.is_joined = True
        self._tries = 0
        if self._complaint:
            self._complaint = ""
            log.info("registry.reached", registry=self.url)

    async def ask_to_drain(self, message: BaseModel) -> None:
        """Say `message` and return when the registry said drained, or is gone."""
        self._drained.clear()
        if await self.send(message):
            await self._drained.wait()

    def drained(self) -> None:
        """Note that the registry said drained."""
        self._drained.set()

    async def close(self, last_word: BaseModel) -> None:
        """Say `last_word` and stay away."""
        self._is_closed = True
        if await self.send(last_word) and self._socket is not None:
            await self._socket.close()

    async def _converse(self) -> None:
        """Keep one conversation, from connecting to the end of the connection."""
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            socket = await self._http.ws_connect(
                f"{self.url}/v1/session",
                headers=bearer(self._token),
                heartbeat=_HEARTBEAT,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT),
            )
        try:
            async with Workers() as self._workers:
                self._socket = socket
                join = self._hello(_local_host(socket))
                await self.send(join)
                if join.instance is not None:
                    self.start(self._beat())
                await self._listen(socket)
        finally:
            self._socket, self.is_joined = None, False
            self._drained.set()
            await socket.close()
        await self._lost(self)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY)
            await self.send(Beat(load=self._load()))

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Hand on every message until the connection ends."""
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            await self._running.wait()
            await self._hear(self, parse_from_registry(message.data))
        if message.type is WSMsgType.CLOSE and message.data == WSCloseCode.POLICY_VIOLATION:
            log.warning("session.refused", registry=self.url, why=message.extra)

    def _complain(self, error: Exception) -> None:
        """Say once what is wrong with this registry and what to do about it."""
        why = str(error) or type(error).__name__
        if why != self._complaint:
            self._complaint = why
            log.warning("registry.unreachable", registry=self.url, why=why, hint=_hint(error))

    def __repr__(self) -> str:
        """Show which registry, and whether it let us in."""
        return f"<Link to {self.url}: {'joined' if self.is_joined else 'not joined'}>"


def _hint(error: Exception) -> str:
    """Tell what a person can do about `error`."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _NO_SUCH_NAME
    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status == HTTPStatus.UNAUTHORIZED:
        return _WRONG_TOKEN
    return _NOBODY_THERE if isinstance(error, OSError) else "it answers, but not like a registry"


def _local_host(socket: aiohttp.ClientWebSocketResponse) -> str:
    """Return the host of our end of the connection, an IPv6 one in brackets."""
    name = socket.get_extra_info("sockname") or ("127.0.0.1",)
    host = str(name[0]).partition("%")[0].removeprefix("::ffff:")
    return f"[{host}]" if ":" in host else host
