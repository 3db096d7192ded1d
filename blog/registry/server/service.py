"""Registry: membership with its I/O: a clock, probes, and the publisher.

It runs in the gateway's process, behind the admin API, or on its own (`blog registry`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Self

from aiohttp import WSCloseCode
from prometheus_client.registry import Collector

from blog.core.access_policy import AccessPolicy
from blog.core.background import TaskSupervisor, background
from blog.core.clock import Clock
from blog.core.ids import new_id
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.registry.address import advice
from blog.registry.log_identity import LogIdentity
from blog.registry.messages import DialBackFailed, ReadyAck
from blog.registry.server.completeness import ServiceMemory
from blog.registry.server.membership import Membership
from blog.registry.server.metrics import RegistryCollector
from blog.registry.server.probe import DIAL_BACK_TIMEOUT, PROBE_TIMEOUT, Prober, ProbeScheduler
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.transitions import ProbeResult, RemovalCause

KEEP_ALIVE_INTERVAL = 1.0
"""Seconds between two keep-alives to every session."""

_DELTA_DELAY = 0.01  # seconds in which changes are collected into one delta
_TICK = 0.1
_UNKNOWN = "you are not in the table; join again"

log = get_logger()


def _ignore(_: object) -> None:
    """Keep nothing."""


class Registry:
    """Knows which instances are alive. Mount its routes (`registry_routes`) and use it as a context.

    `policy` decides who may ask, and whose claims count. `known_log` is the identity of the log that
    belongs to this blog; `remember_log` stores a new one.
    `known_services` is how many instances of each service this registry knew before it was restarted;
    `remember_services` stores that as it changes.
    """

    def __init__(  # noqa: PLR0913 - what is kept over a restart, and what keeps it
        self,
        *,
        clock: Clock,
        policy: AccessPolicy,
        known_log: str | None = None,
        remember_log: Callable[[str], None] = _ignore,
        known_services: Mapping[str, int] | None = None,
        remember_services: Callable[[Mapping[str, int]], None] = _ignore,
    ) -> None:
        self.epoch = new_id()
        self.membership = Membership(clock.monotonic(), known_services)
        self.publisher = TablePublisher(self.epoch)
        self.log_identity = LogIdentity(known_log, remember_log)
        self._clock = clock
        self.policy = policy
        self._remember_services = remember_services
        self._service_memory = ServiceMemory()
        self._may_have_changed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks = TaskSupervisor("registry")
        self._probes = ProbeScheduler(self._probe)
        self._prober: Prober
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Start the periodic work: expiry, deltas, keep-alives, probes."""
        self._prober = await self._stack.enter_async_context(Prober.open())
        await self._stack.enter_async_context(self._tasks)
        self._is_open = True
        await self._stack.enter_async_context(self._probes)
        periodic = background(self._tick(), self._publish_changes(), self._send_keep_alives())
        await self._stack.enter_async_context(periodic)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; the server of the routes closes the sockets."""
        self._is_open = False
        await self._stack.aclose()

    def metrics(self) -> Collector:
        """Return a collector that exposes this registry to Prometheus."""
        return RegistryCollector(self.epoch, self.membership, self.publisher)

    def now(self) -> float:
        """Return the time that membership uses, in monotonic seconds."""
        return self._clock.monotonic()

    def wall_clock(self) -> datetime:
        """Return the time of day, in UTC."""
        return self._clock.now()

    def has_session(self, instance_id: str) -> bool:
        """Return whether the instance holds a session."""
        return bool(self.publisher.sessions_of(instance_id))

    def schedule_delta(self) -> None:
        """Publish soon what has changed in the table, if anything has."""
        self._may_have_changed.set()

    async def dial_back(self, instance: Instance, peer: str) -> DialBackFailed | ReadyAck:
        """Probe the instance at its address; it becomes ready for others when it responds with 200.

        `peer` is the address that it connects from, which explains why its own address may be wrong.
        """
        outcome = await self._prober.probe(instance, DIAL_BACK_TIMEOUT)
        if outcome.is_ready:
            self.membership.admit(instance.id)
            self.schedule_delta()
            return ReadyAck()
        why = outcome.why
        if outcome.result is not ProbeResult.ANSWERED:  # otherwise the address is right
            why = f"{why}; {advice(instance.address, peer)}"
        log.warning("instance.dial_back_failed", id=instance.id, tried=instance.address, reason=why)
        return DialBackFailed(tried=instance.address, why=why)

    def evict(self, instance_id: str) -> None:
        """Remove an instance although it may be alive; it comes back only by joining again."""
        self.membership.remove(instance_id, RemovalCause.FORCED)
        self.disconnect(instance_id)
        self.schedule_delta()

    def disconnect(self, instance_id: str) -> None:
        """Close the sessions of an instance that is not in the table: its client joins again at once."""
        for session in self.publisher.sessions_of(instance_id):
            self.publisher.set_instance(session, None)
            self.start(session.close(_UNKNOWN, WSCloseCode.TRY_AGAIN_LATER))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background, at most until the registry stops."""
        if self._is_open:
            self._tasks.start(work)
        else:
            work.close()

    def report_unhealthy(self, instance_id: str, why: str) -> None:
        """Probe an instance at once, because it did not respond to somebody."""
        if self.membership.get(instance_id) is not None:
            log.info("instance.reported_unhealthy", id=instance_id, reason=why)
            self._probes.schedule(instance_id)

    async def _probe(self, instance_id: str) -> None:
        instance = self.membership.get(instance_id)
        if instance is not None:
            outcome = await self._prober.probe(instance, PROBE_TIMEOUT)
            self.membership.record_probe(instance_id, outcome.result, self.now(), instance.address)
            self.schedule_delta()

    # Periodic work.

    async def _tick(self) -> None:
        scheduled = self.now()
        while True:
            self._expire(late=max(0.0, self.now() - scheduled))
            if self.membership.has_changes() or self._is_completion_due():
                self.schedule_delta()
            self._remember()
            scheduled = self.now() + _TICK
            await asyncio.sleep(_TICK)

    def _expire(self, late: float) -> None:
        was_active = self.membership.is_self_preserving
        for instance in self.membership.expire(self.now(), late):
            self._probes.schedule(instance.id)
        if self.membership.is_self_preserving != was_active:
            table = repr(self.membership)
            log.warning("registry.self_preservation", active=not was_active, table=table)

    def _remember(self) -> None:
        """Store the counts for a restart; those from before it count until the table is complete."""
        now = self.now()
        if self.membership.is_complete(now):
            self._remember_services(self._service_memory.update(self.membership.serving(), now))

    async def _send_keep_alives(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_INTERVAL)
            self.publisher.send_keep_alives()

    async def _publish_changes(self) -> None:
        while True:
            await self._may_have_changed.wait()
            await asyncio.sleep(_DELTA_DELAY)
            self._may_have_changed.clear()
            changes = self.membership.take_changes()
            if changes:
                await self.publisher.publish(changes)
            if self._is_completion_due():
                self.publisher.send_snapshots(tuple(self.publisher.awaiting_complete), complete=True)
            self.publisher.complete_drains()

    def _is_completion_due(self) -> bool:
        """Return whether sessions wait for a complete table, and the table is complete by now."""
        return bool(self.publisher.awaiting_complete) and self.membership.is_complete(self.now())

    def __repr__(self) -> str:
        """Show epoch, version and table."""
        return f"<Registry {self.epoch}: {self.membership!r} {self.publisher!r}>"
