"""The announcing side: one instance's word with its registries, kept up until it leaves.

Reconnecting never gives up. Leaving the context without `leave` is what a crash looks like.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

import aiohttp

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.instance import Instance, Load
from blog.core.logs import get_logger
from blog.core.web import bearer
from blog.registry.address import guess
from blog.registry.client.connection import MAX_MISSED_HEARTBEATS, RegistryConnection
from blog.registry.client.discovery import Discovery
from blog.registry.messages import (
    NEVER_AWAITED,
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
    parse_from_registry,
)

BEAT_EVERY = 1.0
DRAIN_TIMEOUT = 1.5
_LEAVE_TIMEOUT = 1.0
_FIRST_DELAY, _GROWTH, _SOON, _LATE, _PATIENCE = 0.05, 2.0, 0.3, 0.6, 30
# failed tries until a line about it: a gateway takes seconds to start; the next after twice as many
_WARN_FIRST = 20
_HANDSHAKE_TIMEOUT = 5.0
_MAX_MESSAGE = 64 << 20  # bytes; the whole table comes as one message
_CLOSE = aiohttp.ClientWSTimeout(ws_close=0.2)
_ADVICE = "trying again; set BLOG_REGISTRY if the registry (in the gateway) is elsewhere"
_SET_IT = "trying again; set BLOG_ADVERTISE to the host:port that others can dial"

log = get_logger()


class RegistryClient:
    """Announces `instance` at each of `registries` and follows the services in `follow`.

    Without an instance it only follows. Without `advertise` the address that a registry gets is the
    local end of the connection to it, with the port of `instance.address`, the address listened on.
    `expects` is a master's: how many of each service it keeps running now.
    """

    def __init__(  # noqa: PLR0913 - what an instance tells of itself
        self,
        *,
        http: aiohttp.ClientSession,
        registries: Sequence[str],
        clock: Clock,
        instance: Instance | None = None,
        advertise: str | None = None,
        follow: Collection[str] = (),
        token: str | None = None,
        load: Callable[[], Load] = Load,
        expects: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self.instance = instance
        self.discovery = Discovery(follow)
        self._http = http
        self._registries = tuple(dict.fromkeys(url.rstrip("/") for url in registries))
        self._clock = clock
        self._advertise = advertise
        self._headers = bearer(token)
        self._load = load
        self._expects = expects
        self._bound = instance.address if instance else ""
        self._lines: dict[str, RegistryConnection] = {}
        self._untried = set(self._registries)
        self._tried = asyncio.Event()
        self._joined = asyncio.Event()
        self._agreed = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self._wants: list[FromInstance] = []
        self._has_left = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start keeping up the sessions; does not wait for any."""
        tasks = (self._keep_up(url) for url in self._registries)
        await self._stack.enter_async_context(background(*tasks))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the sockets; who has not left is missed."""
        await self._stack.aclose()

    async def wait_until_joined(self) -> None:
        """Return when a registry has taken the instance in; tries for ever."""
        await self._joined.wait()

    async def wait_until_tried(self) -> None:
        """Return when every registry has told what it knows, or could not be reached at once."""
        await self._tried.wait()

    def send_expected(self) -> None:
        """Say again whom a registry that has just started has to wait for: it has changed."""
        for line in self._lines.values():
            if line.is_joined and not self.discovery.is_complete:
                self._introduce(line)

    async def ready(self) -> None:
        """Say ready, now and after each reconnect; return when a registry dialled back."""
        self._want(ReadyRequest())
        await self._agreed.wait()

    def report_unhealthy(self, instance_id: str, why: str) -> None:
        """Tell the registries that somebody did not answer; they will look."""
        self._say(UnhealthyReport(id=instance_id, why=why))

    async def drain(self) -> None:
        """Ask for no new traffic; return when all who might send some know, at most 1.5 s later."""
        self._want(DrainRequest())
        lines = [line for line in self._lines.values() if line.is_joined]
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT):
                for line in lines:
                    await line.is_drained.wait()

    async def leave(self) -> None:
        """Say goodbye. Never fails, and takes at most 1 s."""
        self._has_left = True
        self._say(LeaveNotice())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                for line in list(self._lines.values()):
                    await line.wait_until_sent()

    def pause(self) -> None:
        """Say nothing more until `resume`, like a stopped process (for tests)."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running.set()

    def _want(self, message: FromInstance) -> None:
        """Say `message` now and again on every new connection."""
        self._wants.append(message)
        self._say(message)

    def _say(self, message: FromInstance) -> None:
        for line in self._lines.values():
            if line.is_joined:
                line.say(message)

    async def _keep_up(self, url: str) -> None:
        failures = 0
        while not self._has_left:
            try:
                await self._connect(url)
                failures = 0
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failures += 1
                if is_worth_a_line(failures):
                    log.warning("registry.unreachable", url=url, why=str(error), next=_ADVICE)
            self._has_tried(url)
            if not self._has_left:
                await asyncio.sleep(reconnect_delay(failures))

    async def _connect(self, url: str) -> None:
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT) as deadline:
            async with self._http.ws_connect(
                f"{url}/v1/session", headers=self._headers, timeout=_CLOSE, max_msg_size=_MAX_MESSAGE
            ) as socket:
                deadline.reschedule(None)
                line = self._lines[url] = RegistryConnection(url, socket)
                try:
                    self._introduce(line)
                    async with background(line.send(self._running), self._beat(line)):
                        await self._listen(line)
                finally:
                    del self._lines[url]
                    self.discovery.cut_off(url)

    def _introduce(self, line: RegistryConnection) -> None:
        """Say who we are, with the address that this registry sees us at, and whom we know."""
        if self.instance is not None:
            address = self._advertise or guess(self._bound, line.local_host)
            self.instance = self.instance.model_copy(update={"address": address})
        expects = self._expects()
        line.say(
            Join(
                instance=self.instance,
                follow=self.discovery.follow,
                known=tuple(_missed(self.discovery)),
                expects=None if expects is None else dict(expects),
            )
        )

    async def _listen(self, line: RegistryConnection) -> None:
        async for message in line.socket:
            await self._running.wait()
            line.heard()
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self._take(line, parse_from_registry(message.data))
        if line.socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION:
            log.error("registry.refused", url=line.url, why="it did not understand us")

    def _take(self, line: RegistryConnection, message: FromRegistry) -> None:
        match message:
            case Joined():
                self._on_joined(line, message)
            case ReadyAck():
                line.is_agreed = True
                self._agreed.set()
            case DialBackFailed():
                log.error("instance.refused", tried=message.tried, why=message.why, next=_SET_IT)
            case Drained():
                line.is_drained.set()
            case TableSnapshot() | TableDelta():
                self.discovery.apply(message, line.url)
                line.say(Ack(version=message.version))
                self._has_tried(line.url)

    def _on_joined(self, line: RegistryConnection, joined: Joined) -> None:
        self.discovery.apply(joined, line.url)
        line.is_joined = True
        for message in self._wants:
            line.say(message)
        self._joined.set()

    def _has_tried(self, url: str) -> None:
        self._untried.discard(url)
        if not self._untried:
            self._tried.set()

    async def _beat(self, line: RegistryConnection) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY)
            await self._running.wait()
            if line.is_dead():
                raise TimeoutError(f"nothing heard for {MAX_MISSED_HEARTBEATS} s")
            if line.is_joined:
                line.say(Heartbeat(load=self._load()))
                if ReadyRequest() in self._wants and not line.is_agreed:
                    line.say(ReadyRequest())

    def __repr__(self) -> str:
        """Show who, and which registries are connected."""
        who = self.instance.id if self.instance else "a follower"
        return f"<RegistryClient of {who} with {', '.join(self._lines) or 'nobody'}>"


def reconnect_delay(failures: int) -> float:
    """Return the seconds until the next try: full jitter, up to 0.3 s at first, up to 0.6 s later.

    It does not grow beyond that: a registry that returns after hours has everybody back within a second.
    """
    cap = _SOON if failures <= _PATIENCE else _LATE
    return random.uniform(0, min(cap, _FIRST_DELAY * _GROWTH ** min(failures, _PATIENCE)))  # noqa: S311


def is_worth_a_line(failures: int) -> bool:
    """Return whether to log this failure: the 10th, 20th, 40th, 80th … in a row."""
    times, rest = divmod(failures, _WARN_FIRST)
    return rest == 0 and times.bit_count() == 1


def _missed(discovery: Discovery) -> Iterator[str]:
    """Yield whom a registry that has just started would miss; its gateway went with the one before."""
    for instance in discovery.instances.values():
        if instance.is_serving() and instance.service not in NEVER_AWAITED:
            yield instance.id
