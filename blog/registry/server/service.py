"""The registry as an aiohttp app: sessions over WebSocket, probes and time around `membership`.

It lives in the gateway's process, behind the inner door, or alone (`blog registry`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Self

from aiohttp import WSCloseCode
from prometheus_client.registry import Collector

from blog.core.background import TaskSupervisor, background
from blog.core.clock import Clock
from blog.core.ids import new_id
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.registry.address import advice
from blog.registry.log_identity import LogIdentity
from blog.registry.messages import DialBackFailed, ReadyAck
from blog.registry.server.completeness import ServiceMemory
from blog.registry.server.doubts import ProbeScheduler
from blog.registry.server.membership import Membership
from blog.registry.server.metrics import RegistryCollector
from blog.registry.server.probe import DIAL_BACK_TIMEOUT, PROBE_TIMEOUT, Prober
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.transitions import RemovalCause

ALIVE_EVERY = 1.0
"""Seconds between two signs of life to everybody who holds a session."""

_FLUSH_AFTER = 0.01  # seconds in which changes are collected into one delta
_TICK = 0.1
_UNKNOWN = "you are not in the table; join again"

log = get_logger()


def _ignore(_: object) -> None:
    """Keep nothing."""


class Registry:
    """Knows who is alive. Mount `routes()` and keep it in `async with` while the app serves.

    `known_log` is the identity of the log that belongs to this blog, `remember_log` keeps one.
    `known_services` is how many instances of each service this registry knew before it was restarted;
    `remember_services` gets that as it changes.
    """

    def __init__(  # noqa: PLR0913 - what is kept over a restart, and what keeps it
        self,
        *,
        clock: Clock,
        token: str | None = None,
        known_log: str | None = None,
        remember_log: Callable[[str], None] = _ignore,
        known_services: Mapping[str, int] | None = None,
        remember_services: Callable[[Mapping[str, int]], None] = _ignore,
    ) -> None:
        self.epoch = new_id()
        self.membership = Membership(clock.monotonic(), known_services)
        self.log_identity = LogIdentity(known_log, remember_log)
        self._clock = clock
        self._token = token
        self._remember_services = remember_services
        self._memory = ServiceMemory()
        self.publisher = TablePublisher(self.epoch)
        self._dirty = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks = TaskSupervisor("registry")
        self._doubts = ProbeScheduler(self._look)
        self._prober: Prober
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Start the clockwork: expiry, deltas, probes."""
        self._prober = await self._stack.enter_async_context(Prober.open(self._token))
        await self._stack.enter_async_context(self._tasks)
        self._is_open = True
        await self._stack.enter_async_context(self._doubts)
        clockwork = background(self._tick(), self._flush(), self._say_alive())
        await self._stack.enter_async_context(clockwork)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; sockets are closed by whoever serves them."""
        self._is_open = False
        await self._stack.aclose()

    def metrics(self) -> Collector:
        """Return what shows this registry to Prometheus."""
        return RegistryCollector(self.epoch, self.membership, self.publisher)

    def now(self) -> float:
        """Return the time that membership counts in."""
        return self._clock.monotonic()

    def wall_clock(self) -> datetime:
        """Return the time that people read."""
        return self._clock.now()

    def has_session(self, instance_id: str) -> bool:
        """Tell whether the instance holds a socket to us."""
        return bool(self.publisher.of(instance_id))

    def schedule_delta(self) -> None:
        """Tell followers soon: the table may have changed."""
        self._dirty.set()

    async def dial_back(self, instance: Instance, peer: str) -> DialBackFailed | ReadyAck:
        """Dial the instance at its address; it is ready for others when it answers.

        `peer` is where it comes from, which explains why an address is wrong.
        """
        answer = await self._prober.dial(instance, DIAL_BACK_TIMEOUT)
        if answer.is_ready:
            self.membership.admit(instance.id)
            self.schedule_delta()
            return ReadyAck()
        # who answers is at the right address, and only not ready yet
        why = answer.why if answer.is_there else f"{answer.why}; {advice(instance.address, peer)}"
        log.warning("instance.refused", id=instance.id, tried=instance.address, why=why)
        return DialBackFailed(tried=instance.address, why=why)

    def force_out(self, instance_id: str) -> None:
        """Take an instance out although it may live; it comes back only by joining anew."""
        self.membership.remove(instance_id, RemovalCause.FORCED)
        self.send_away(instance_id)
        self.schedule_delta()

    def send_away(self, instance_id: str) -> None:
        """Close the sessions of who is not in the table (lost, and back): it joins again at once."""
        for talk in self.publisher.of(instance_id):
            self.publisher.belongs(talk, None)
            self.start(talk.refuse(_UNKNOWN, WSCloseCode.TRY_AGAIN_LATER))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside everything else, for as long as the registry runs."""
        if self._is_open:
            self._tasks.start(work)
        else:
            work.close()

    # Probes and time.

    def report_unhealthy(self, instance_id: str, why: str) -> None:
        """Look at once whether an instance is still there."""
        if self.membership.get(instance_id) is not None:
            log.info("instance.doubted", id=instance_id, why=why)
            self._doubts.begin(instance_id)

    async def _look(self, instance_id: str) -> None:
        instance = self.membership.get(instance_id)
        if instance is not None:
            answer = await self._prober.dial(instance, PROBE_TIMEOUT)
            self.membership.probed(instance_id, answer.result, self.now(), instance.address)
            self.schedule_delta()

    async def _tick(self) -> None:
        meant = self.now()
        while True:
            late = max(0.0, self.now() - meant)
            was_guarded = self.membership.is_self_preserving
            for instance in self.membership.expire(self.now(), late):
                self._doubts.begin(instance.id)
            if self.membership.is_self_preserving != was_guarded:
                log.warning("registry.guarded", guarded=not was_guarded, table=repr(self.membership))
            if self.membership.has_changes() or self._has_to_complete():
                self.schedule_delta()
            self._remember()
            meant = self.now() + _TICK
            await asyncio.sleep(_TICK)

    def _remember(self) -> None:
        """Keep who is there over a restart; what was known before counts until everybody is back."""
        now = self.now()
        if self.membership.is_complete(now):
            self._remember_services(self._memory.seen(self.membership.serving(), now))

    async def _say_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY)
            self.publisher.tell_alive()

    # Telling followers.

    async def _flush(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_FLUSH_AFTER)
            self._dirty.clear()
            changes = self.membership.take_changes()
            if changes:
                await self.publisher.tell(changes)
            if self._has_to_complete():
                self.publisher.tell_table(tuple(self.publisher.waiting), complete=True)
            self.publisher.settle_drains()

    def _has_to_complete(self) -> bool:
        """Tell whether somebody waits for a complete table, which it is by now."""
        return bool(self.publisher.waiting) and self.membership.is_complete(self.now())

    def __repr__(self) -> str:
        """Show epoch, version and table."""
        return f"<Registry {self.epoch}: {self.membership!r} {self.publisher!r}>"
