"""The registry as an aiohttp app: sessions over WebSocket, probes and time around `membership`.

It lives in the gateway's process, behind the inner door, or alone (`blog registry`).
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Self

from aiohttp import WSMsgType, web
from pydantic import ValidationError

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.ids import new_id
from blog.core.instance import Departure, Instance
from blog.core.logs import get_logger
from blog.core.web import problems, requires_token
from blog.registry.conversation import Conversation
from blog.registry.discovery import BUS, LOG_KEY
from blog.registry.membership import Membership
from blog.registry.messages import (
    Ack,
    Agreed,
    Beat,
    Drain,
    FromInstance,
    Join,
    Joined,
    Leave,
    Refused,
    Report,
    SayReady,
    Snapshot,
    parse_from_instance,
)
from blog.registry.probe import DIAL_BACK_TIMEOUT, PROBE_TIMEOUT, Prober
from blog.registry.publisher import Publisher
from blog.registry.rest import Rest

ADOPT_KEY = "adopt"
"""In a bus instance's metadata: take its log as the one that counts from now on."""

_FLUSH_AFTER = 0.01  # seconds in which changes are collected into one delta
_TICK = 0.1
_MAX_MESSAGE = 1 << 20

log = get_logger()


def _ignore(_: str) -> None:
    """Keep nothing."""


class Registry:
    """Knows who is alive. Mount `routes()` and keep it in `async with` while the app serves.

    `known_log` is the identity of the log that belongs to this blog, `remember_log` keeps one.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        token: str | None = None,
        known_log: str | None = None,
        remember_log: Callable[[str], None] = _ignore,
    ) -> None:
        self.epoch = new_id()
        self.membership = Membership()
        self.log = known_log
        self._clock = clock
        self._token = token
        self._remember_log = remember_log
        self.publisher = Publisher()
        self._dirty = asyncio.Event()
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup
        self._prober: Prober

    async def __aenter__(self) -> Self:
        """Start the clockwork: expiry, deltas, probes."""
        self._prober = await self._stack.enter_async_context(Prober.open(self._token))
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        await self._stack.enter_async_context(background(self._tick(), self._flush()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; sockets are closed by whoever serves them."""
        await self._stack.aclose()

    def routes(self) -> list[web.RouteDef]:
        """Return what to mount on an inner door."""
        return [web.get("/v1/session", self._session), *Rest(self).routes()]

    def now(self) -> float:
        """Return the time that membership counts in."""
        return self._clock.monotonic()

    def wall_clock(self) -> datetime:
        """Return the time that people read."""
        return self._clock.now()

    def has_session(self, instance_id: str) -> bool:
        """Tell whether the instance holds a socket to us."""
        return self.publisher.has(instance_id)

    def take_note(self) -> None:
        """Tell followers soon: the table may have changed."""
        self._dirty.set()

    async def dial_back(self, instance: Instance) -> Refused | Agreed:
        """Dial the instance at its address; it is ready for others when it answers."""
        answer = await self._prober.dial(instance, DIAL_BACK_TIMEOUT)
        if not answer.is_ready:
            log.warning("instance.refused", id=instance.id, tried=instance.address, why=answer.why)
            return Refused(tried=instance.address, why=answer.why)
        self.membership.admit(instance.id)
        self.take_note()
        return Agreed()

    # Sessions.

    async def _session(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=_MAX_MESSAGE, timeout=0.2)
        await socket.prepare(request)
        talk = Conversation(socket)
        self.publisher.conversations.add(talk)
        try:
            async with background(talk.send(), talk.close_when_cut()):
                await self._listen(talk)
        finally:
            self.publisher.conversations.discard(talk)
            self._closed(talk)
        return socket

    async def _listen(self, talk: Conversation) -> None:
        async for message in talk.socket:
            if message.type is not WSMsgType.TEXT:
                break
            try:
                said = parse_from_instance(message.data)
            except ValidationError as error:
                first = error.errors()[0]
                await talk.refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
                return
            self._take(talk, said)

    def _take(self, talk: Conversation, said: FromInstance) -> None:
        match said:
            case Join():
                self._join(talk, said)
            case Ack():
                self.publisher.acked(talk, said.version)
            case Report():
                self._probe_soon(said.id, said.why)
            case _ if talk.instance_id is not None:
                self._take_of_instance(talk, talk.instance_id, said)

    def _take_of_instance(self, talk: Conversation, id_: str, said: FromInstance) -> None:
        match said:
            case Beat():
                self.membership.beat(id_, said.load, self.now())
            case SayReady():
                self._group.create_task(self._greet(talk, id_))
            case Drain():
                self.membership.drain(id_)
                self.publisher.drains(id_)
            case Leave():
                self.membership.remove(id_, Departure.LEFT)
                talk.instance_id = None
        self.take_note()

    def _join(self, talk: Conversation, said: Join) -> None:
        talk.follow = frozenset(said.follow)
        if said.instance is not None and self._accepts_log(said.instance):
            talk.instance_id = said.instance.id
            self.membership.join(said.instance, self.now())
            log.info("instance.joined", id=said.instance.id, address=said.instance.address)
        address = said.instance.address if said.instance else None
        talk.say(Joined(epoch=self.epoch, log=self.log, address=address))
        # what is not told yet comes with the next delta, on top of this
        table = tuple(item for item in self.membership.instances if talk.follows(item.service))
        version = self.publisher.version
        talk.say(Snapshot(epoch=self.epoch, version=version, complete=True, instances=table))
        self.take_note()

    def _accepts_log(self, instance: Instance) -> bool:
        """Tell whether the instance may join: a bus with another log than the known one may not."""
        theirs = instance.metadata.get(LOG_KEY)
        if instance.service != BUS or theirs is None:
            return True
        if self.log is None or instance.metadata.get(ADOPT_KEY) == "true":
            self.log = theirs
            self._remember_log(theirs)
        return self.log == theirs

    async def _greet(self, talk: Conversation, instance_id: str) -> None:
        instance = self.membership.get(instance_id)
        if instance is not None:
            talk.say(await self.dial_back(instance))

    def _closed(self, talk: Conversation) -> None:
        """Look at once whether the instance behind a closed socket is still there."""
        if talk.instance_id is not None and not self.has_session(talk.instance_id):
            self._probe_soon(talk.instance_id, "its session closed")
        self.publisher.settle_drains()

    # Probes and time.

    def _probe_soon(self, instance_id: str, why: str) -> None:
        instance = self.membership.get(instance_id)
        if instance is not None:
            log.info("instance.doubted", id=instance_id, why=why)
            probe = self._probe(instance)
            try:
                self._group.create_task(probe)
            except RuntimeError:  # the registry itself is closing
                probe.close()

    async def _probe(self, instance: Instance) -> None:
        answer = await self._prober.dial(instance, PROBE_TIMEOUT)
        self.membership.probed(instance.id, answer.result, self.now())
        self.take_note()

    async def _tick(self) -> None:
        while True:
            for instance in self.membership.expire(self.now()):
                self._group.create_task(self._probe(instance))
            self.take_note()
            await asyncio.sleep(_TICK)

    # Telling followers.

    async def _flush(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_FLUSH_AFTER)
            self._dirty.clear()
            changes = self.membership.take_changes()
            if changes:
                await self.publisher.tell(changes)
            self.publisher.settle_drains()

    def __repr__(self) -> str:
        """Show epoch, version and table."""
        return f"<Registry {self.epoch}: {self.membership!r} {self.publisher!r}>"


def registry_app(registry: Registry, token: str | None) -> web.Application:
    """Make an app of `registry` alone; its whole API needs the token."""
    app = web.Application(
        middlewares=[problems, requires_token(token, lambda request: request.path.startswith("/v1/"))]
    )
    app.add_routes(registry.routes())
    return app
