"""Registry client: keeps an instance's sessions with its registries, until it leaves.

Reconnecting never gives up. Leaving the context without `leave` is what a crash looks like.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

import aiohttp

from blog.core.background import background
from blog.core.backoff import Failures
from blog.core.clock import Clock
from blog.core.instance import Instance, Load
from blog.core.logs import get_logger
from blog.core.web import bearer
from blog.registry.client.announcement import Announcement
from blog.registry.client.connection import MAX_MISSED_HEARTBEATS, RegistryConnection
from blog.registry.client.discovery import Discovery
from blog.registry.client.reconnecting import is_worth_a_line, reconnect_delay
from blog.registry.client.refusal import SESSION, is_refusal, refusal_of
from blog.registry.messages import (
    PROTOCOL_VERSION,
    Ack,
    DialBackFailed,
    Drained,
    DrainRequest,
    FromInstance,
    FromRegistry,
    Heartbeat,
    Join,
    Joined,
    LeaveNotice,
    ReadyAck,
    ReadyRequest,
    TableDelta,
    TableSnapshot,
    UnhealthyReport,
)

HEARTBEAT_INTERVAL = 1.0
DRAIN_TIMEOUT = 1.5
_LEAVE_TIMEOUT = 1.0
_HANDSHAKE_TIMEOUT = 5.0
_HELD_AFTER = 5.0
"""Seconds after which a session has held: when it ends, the back-off begins anew."""
_MAX_MESSAGE = 64 << 20  # bytes; the whole table comes as one message
_CLOSE = aiohttp.ClientWSTimeout(ws_close=0.2)
_ADVICE = "trying again; set BLOG_REGISTRY if the registry (in the gateway) is elsewhere"
_SET_IT = "trying again; set BLOG_ADVERTISE to the host:port that others can dial"

log = get_logger()


class RegistryClient:
    """Announces `instance` at each of `registries`, and follows the services in `follow`.

    Without an instance it only follows. Without `advertise` the address that a registry gets is the local
    end of the connection to it, with the port of `instance.address`, the address listened on; where that
    is loopback, `elsewhere`, or what `reached_at` says later. `expected` is for a master: how many
    instances of each service it keeps running now.
    """

    def __init__(  # noqa: PLR0913 - what an instance announces of itself
        self,
        *,
        http: aiohttp.ClientSession,
        registries: Sequence[str],
        clock: Clock,
        instance: Instance | None = None,
        advertise: str | None = None,
        elsewhere: str | None = None,
        follow: Collection[str] = (),
        token: str | None = None,
        load: Callable[[], Load] = Load,
        expected: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self.instance = instance
        self.discovery = Discovery(follow)
        self.logs: dict[str, str | None] = {}
        """The log that each registry knew when it let this instance join, or turned it away."""
        self._http = http
        self._registries = tuple(dict.fromkeys(url.rstrip("/") for url in registries))
        self._clock = clock
        self._announcement = None if instance is None else Announcement(instance, advertise, elsewhere)
        self._headers = bearer(token)
        self._load = load
        self._expected = expected
        self._key = secrets.token_urlsafe(16) if instance else None
        self._connections: dict[str, RegistryConnection] = {}
        self._failures = {url: Failures(_HELD_AFTER) for url in self._registries}
        self._rejections: dict[str, str] = {}
        self._untried = set(self._registries)
        self._tried = asyncio.Event()
        self._joined = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self._requests: list[FromInstance] = []
        self._has_left = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start keeping the sessions; does not wait for any."""
        tasks = (self._keep_session(url) for url in self._registries)
        await self._stack.enter_async_context(background(*tasks))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the sockets; an instance that has not left before is lost."""
        await self._stack.aclose()

    async def wait_until_joined(self) -> None:
        """Return when a registry has accepted the instance; never gives up."""
        await self._joined.wait()

    async def wait_until_tried(self) -> None:
        """Return when every registry has sent its table, or could not be reached at once."""
        await self._tried.wait()

    def send_expected(self) -> None:
        """Send again what a registry that has just started has to wait for: it has changed."""
        for connection in self._connections.values():
            if connection.is_joined and not self.discovery.is_complete:
                self._send_join(connection)

    def reached_at(self, host: str) -> None:
        """Announce `host` where the local end of a connection says nothing; it is for instances."""
        assert self._announcement is not None
        self._announcement.elsewhere = host
        for connection in self._connections.values():
            if self._announcement.is_outdated(connection):
                self._send_join(connection)

    async def ready(self) -> None:
        """Request ready, now and after each reconnect; return when a registry has dialled back."""
        self._request(ReadyRequest())
        await self._acknowledged.wait()

    def report_unhealthy(self, instance_id: str, why: str) -> None:
        """Tell the registries that an instance did not respond; they probe it."""
        self._send(UnhealthyReport(id=instance_id, why=why))

    async def drain(self) -> None:
        """Request no new traffic; return when every follower has acknowledged, at most 1.5 s later."""
        self._request(DrainRequest())
        joined = [connection for connection in self._connections.values() if connection.is_joined]
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT):
                for connection in joined:
                    await connection.is_drained.wait()

    async def leave(self) -> None:
        """Tell the registries that the instance leaves. Never fails, and takes at most 1 s."""
        self._has_left = True
        self._send(LeaveNotice())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                for connection in list(self._connections.values()):
                    await connection.wait_until_sent()

    def pause(self) -> None:
        """Send nothing until `resume`, like a stopped process (for tests)."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running.set()

    def _request(self, message: FromInstance) -> None:
        """Send `message` now, and again on every new connection."""
        self._requests.append(message)
        self._send(message)

    def _send(self, message: FromInstance) -> None:
        for connection in self._connections.values():
            if connection.is_joined:
                connection.send(message)

    async def _keep_session(self, url: str) -> None:
        while not self._has_left:
            ended: Exception | None = None
            try:
                await self._connect(url)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                ended = error
            failures = self._failures[url].ended(self._clock.monotonic())
            await self._log_failure(url, failures, ended)
            self._has_tried(url)
            if not self._has_left:
                await asyncio.sleep(reconnect_delay(failures))

    async def _log_failure(self, url: str, failures: int, error: Exception | None) -> None:
        """Log why there is no session: a refusal at once, for it does not end by itself."""
        if isinstance(error, aiohttp.WSServerHandshakeError) and is_refusal(error):
            if failures == 1 or is_worth_a_line(failures):
                refusal = await refusal_of(self._http, url, self._headers, error)
                log.error("registry.refused", url=url, **refusal._asdict())
        elif is_worth_a_line(failures):
            why = "it closed the session" if error is None else str(error)
            log.warning("registry.unreachable", url=url, reason=why, next=_ADVICE)

    async def _connect(self, url: str) -> None:
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT) as deadline:
            async with self._http.ws_connect(
                url + SESSION, headers=self._headers, timeout=_CLOSE, max_msg_size=_MAX_MESSAGE
            ) as socket:
                deadline.reschedule(None)
                connection = self._connections[url] = RegistryConnection(url, socket)
                try:
                    if self._announcement is not None:
                        await self._announcement.find_way(connection)
                    self._send_join(connection)
                    send = connection.send_queued(self._running)
                    async with background(send, self._send_heartbeats(connection)):
                        await self._receive(connection)
                finally:
                    del self._connections[url]
                    self.discovery.disconnected(url)

    def _send_join(self, connection: RegistryConnection) -> None:
        """Announce the instance, at the address where this registry sees it, and what it knows."""
        instance = None if self._announcement is None else self._announcement.at(connection)
        if connection.url == next(filter(self._connections.__contains__, self._registries)):
            self.instance = instance  # which address we call our own: that of the first registry
        expected = self._expected()
        connection.send(
            Join(
                protocol=PROTOCOL_VERSION,
                instance=instance,
                follow=self.discovery.follow,
                known=tuple(self.discovery.awaited()),
                expects=None if expected is None else dict(expected),
                key=self._key,
            )
        )

    async def _receive(self, connection: RegistryConnection) -> None:
        while (message := await connection.receive(self._running)) is not None:
            self._handle(connection, message)
        rejection, url = connection.rejection, connection.url
        if rejection is not None and rejection != self._rejections.get(url):
            self._rejections[url] = rejection
            log.error("registry.rejected", url=url, reason=rejection)

    def _handle(self, connection: RegistryConnection, message: FromRegistry) -> None:
        match message:
            case Joined():
                self._on_joined(connection, message)
            case ReadyAck():
                connection.is_acknowledged = True
                self._acknowledged.set()
            case DialBackFailed():
                tried, why = message.tried, message.why
                log.error("instance.dial_back_failed", tried=tried, reason=why, next=_SET_IT)
            case Drained():
                connection.is_drained.set()
            case TableSnapshot() | TableDelta():
                self.discovery.apply(message, connection.url)
                connection.send(Ack(version=message.version))
                self._has_tried(connection.url)

    def _on_joined(self, connection: RegistryConnection, joined: Joined) -> None:
        if not connection.is_joined:  # joined again, as with other expectations, it is the same session
            self._failures[connection.url].started(self._clock.monotonic())
        self.logs[connection.url] = joined.log
        self.discovery.apply(joined, connection.url)
        self._rejections.pop(connection.url, None)
        connection.is_joined = True
        for message in self._requests:
            connection.send(message)
        self._joined.set()

    def _has_tried(self, url: str) -> None:
        self._untried.discard(url)
        if not self._untried:
            self._tried.set()

    async def _send_heartbeats(self, connection: RegistryConnection) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            await self._running.wait()
            if connection.is_dead():
                raise TimeoutError(f"no message from it for {MAX_MISSED_HEARTBEATS} s")
            if connection.is_joined:
                connection.send(Heartbeat(load=self._load()))
                if ReadyRequest() in self._requests and not connection.is_acknowledged:
                    connection.send(ReadyRequest())

    def __repr__(self) -> str:
        """Show the instance, and the registries that it is connected to."""
        who = self.instance.id if self.instance else "a follower"
        return f"<RegistryClient of {who}, connected to {', '.join(self._connections) or 'no registry'}>"
