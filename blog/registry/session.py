"""Session: the announcing side. What one instance says to its registries, and what it hears from them.

Says again after every reconnect what it said before: who it is, that it is ready, that it drains.
Leaving the context without `leave` is a crash, for others.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import BaseModel

from blog.core.clock import Clock
from blog.core.instance import Instance, Load
from blog.core.logs import get_logger
from blog.registry.discovery import Discovery
from blog.registry.link import Link
from blog.registry.messages import (
    Ack,
    Delta,
    Drain,
    Drained,
    FromRegistry,
    Join,
    Joined,
    Leave,
    Ready,
    Refused,
    Report,
    Snapshot,
)
from blog.registry.workers import Workers

DRAIN_TIMEOUT = 1.5
"""Seconds that draining waits for the registries at most."""

_READY_AGAIN = 1.0
_LEAVE_TIMEOUT = 1.0

log = get_logger()


class _Stage(Enum):
    """How far this instance is, in its own words."""

    STARTING = auto()
    READY = auto()
    DRAINING = auto()


_SAID: dict[_Stage, BaseModel] = {_Stage.READY: Ready(), _Stage.DRAINING: Drain()}
"""What a registry that lets us in again has to be told at once."""


class Session:
    """Keeps an instance announced at every one of `registries`, and `discovery` up to date.

    Without an `instance` it only follows. The address is `advertise`, or the local end of the
    connection to the registry with the port of the instance's address. With several registries
    the table comes from one that is connected; merging them is a later issue's.
    """

    def __init__(  # noqa: PLR0913 - everything that an announcement depends on
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
    ) -> None:
        self.discovery = Discovery(follow)
        self.instance = instance
        self._clock = clock
        self._advertise = advertise
        self._stage = _Stage.STARTING
        self._joined, self._agreed, self._running = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._running.set()
        self._workers = Workers()
        self._source: Link | None = None
        self._links = [
            Link(
                url,
                http,
                token,
                hello=self._hello,
                hear=self._hear,
                lost=self._lost,
                load=load,
                running=self._running,
            )
            for url in registries
        ]

    async def __aenter__(self) -> Self:
        await self._workers.__aenter__()
        for link in self._links:
            self._workers.start(link.keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._workers.__aexit__(kind, error, trace)

    async def wait_until_joined(self) -> None:
        """Return when the first registry let us in."""
        await self._joined.wait()

    async def ready(self) -> None:
        """Say that the instance can answer; return when a registry dialled back and agreed."""
        self._stage = _Stage.READY
        self._agreed.clear()
        await self._say(Ready())
        await self._agreed.wait()

    def report(self, instance_id: str, why: str) -> None:
        """Tell the registries that `instance_id` could not be reached; never waits."""
        self._workers.start(self._say(Report(id=instance_id, why=why[:1000])))

    async def drain(self) -> None:
        """Ask for nothing new; return when everybody knows, after 1.5 s, or with no registry at once."""
        self._stage = _Stage.DRAINING
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                for link in self._connected() if self.instance else ():
                    await link.ask_to_drain(Drain())
        except TimeoutError:
            log.warning("session.drain_cut", id=self.instance and self.instance.id)

    async def leave(self) -> None:
        """Say goodbye and close, within 1 s. Whom it does not reach will find out."""
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                for link in self._links:
                    await link.close(Leave())
        except TimeoutError:
            log.warning("session.leave_cut", id=self.instance and self.instance.id)

    def pause(self) -> None:
        """Fall silent and deaf, like a stopped process, until `resume` (for tests)."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running.set()

    def _hello(self, local_host: str) -> Join:
        """Say who we are, with the address that others can dial."""
        if self.instance is not None:
            port = self.instance.address.rpartition(":")[2]
            address = self._advertise or f"{local_host}:{port}"
            self.instance = self.instance.model_copy(update={"address": address})
        return Join(instance=self.instance, follow=tuple(sorted(self.discovery.follow)))

    async def _hear(self, link: Link, message: FromRegistry) -> None:
        match message:
            case Joined():
                await self._let_in(link, message)
            case Snapshot() | Delta():
                if link is self._source:
                    self.discovery.apply(message)
                await link.send(Ack(version=message.version))
            case Ready():
                self._agreed.set()
            case Refused():
                log.warning(
                    "instance.refused", registry=link.url, tried=message.tried, why=message.why
                )
                link.start(self._say_ready_again(link))
            case Drained():
                link.drained()

    async def _let_in(self, link: Link, joined: Joined) -> None:
        link.welcome()
        self._source = self._source or link
        if link is self._source:
            self.discovery.apply(joined)
        if self.instance and joined.address:
            self.instance = self.instance.model_copy(update={"address": joined.address})
        self._joined.set()
        if self.instance and self._stage in _SAID:
            await link.send(_SAID[self._stage])

    async def _lost(self, link: Link) -> None:
        """Go over to another registry that is connected; joining again asks for its whole table."""
        if link is self._source:
            self._source = next(iter(self._connected()), None)
            if self._source is not None:
                join = Join(instance=self.instance, follow=tuple(sorted(self.discovery.follow)))
                await self._source.send(join)

    async def _say_ready_again(self, link: Link) -> None:
        await asyncio.sleep(_READY_AGAIN)
        if self._stage is _Stage.READY:
            await link.send(Ready())

    async def _say(self, message: BaseModel) -> None:
        for link in self._connected():
            await link.send(message)

    def _connected(self) -> list[Link]:
        return [link for link in self._links if link.is_joined]

    def __repr__(self) -> str:
        """Show who announces itself, how far it is, and where."""
        who = self.instance.id if self.instance else "a follower"
        return f"<Session of {who}, {self._stage.name.lower()}: {self._links}>"
