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

from blog.core.background import TaskSupervisor, background
from blog.core.clock import Clock
from blog.core.ids import new_id
from blog.core.logs import get_logger
from blog.core.net.access_policy import AccessPolicy
from blog.registry.log_identity import BUS, LogIdentity
from blog.registry.server.completeness import ServiceMemory
from blog.registry.server.dial_back import DialBacks
from blog.registry.server.dial_target import DialTargets
from blog.registry.server.join_order import JoinOrder
from blog.registry.server.joins import Joins
from blog.registry.server.membership import Membership
from blog.registry.server.metrics import RegistryCollector
from blog.registry.server.probe import PROBE_TIMEOUT, Prober, ProbeScheduler
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.session import ServerSession
from blog.registry.server.transitions import RemovalCause

KEEP_ALIVE_INTERVAL = 1.0
"""Seconds between two keep-alives to every session."""

_DELTA_DELAY = 0.01  # seconds in which changes are collected into one delta
_TICK = 0.1
_FORGET_EVERY = 5.0  # seconds between two looks at which services have no instance
_UNKNOWN = "you are not in the table; join again"
_SHOWN = 300  # characters of a report in the log
_ADOPTED = "another log is this blog's now; join again"

log = get_logger()


def _ignore(_: object) -> None:
    """Keep nothing."""


class Registry:
    """Knows which instances are alive. Mount its routes (`registry_routes`) and use it as a context.

    `policy` decides who may ask, and whose claims count. `known_log` is what is known of the log that
    belongs to this blog (`LogIdentity`); `remember_log` stores it when that changes.
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
        self.on_reached: Callable[[str], None] = _ignore
        """Takes the local address at which an instance has joined that is trusted, or ready."""
        self.policy = policy
        self.order = JoinOrder(clock.now(), known_services or ())
        self.joins = Joins(
            membership=self.membership,
            publisher=self.publisher,
            policy=policy,
            log_identity=self.log_identity,
            order=self.order,
            now=self.now,
            wall_clock=self.wall_clock,
            release=self.release,
            on_ready=self._became_ready,
        )
        self.dial_backs: DialBacks
        self._clock = clock
        self._forget_at = clock.monotonic() + _FORGET_EVERY
        self._remember_services = remember_services
        self._service_memory = ServiceMemory()
        self._remembered: dict[str, int] = {}
        self._may_have_changed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks = TaskSupervisor("registry")
        self._probes = ProbeScheduler(self._probe)
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Start the periodic work: expiry, deltas, keep-alives, probes."""
        self.dial_backs = DialBacks(
            prober=Prober(),
            tells_why=not self.policy.is_protected,
            membership=self.membership,
            joins=self.joins,
            targets=DialTargets(self.policy.networks),
            clock=self._clock,
        )
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

    def evict(self, instance_id: str) -> None:
        """Remove an instance although it may be alive; it comes back only by joining again."""
        self.membership.remove(instance_id, RemovalCause.FORCED)
        self.disconnect(instance_id)
        self.schedule_delta()

    def disconnect(self, instance_id: str) -> None:
        """Close the sessions of an instance that is not in the table: its client joins again at once."""
        for session in self.publisher.sessions_of(instance_id):
            self.release(session, _UNKNOWN)

    def release(self, session: ServerSession, why: str) -> None:
        """Close a session; whatever instance holds it, it does no more."""
        self.publisher.set_instance(session, None)
        self.start(session.close(why, WSCloseCode.TRY_AGAIN_LATER))

    def ended(self, instance_id: str) -> None:
        """Take in that the session of an instance has ended: the instance, or only its connection."""
        if self.joins.is_stranger(instance_id):
            # a probe would tell by the table what is at an address that never responded as it has to
            self.membership.remove(instance_id, RemovalCause.REFUSED)
            self.schedule_delta()
        else:
            self.report_unhealthy(instance_id, "its session closed")

    def adopt_log(self, identity: str) -> None:
        """Make `identity` the log of this blog: a bus with another one leaves, its bus may join."""
        if identity != self.log_identity.current:
            log.warning("log.adopted", log=identity, before=self.log_identity.current)
        self.log_identity.adopt(identity)
        self._apply_log()

    def _became_ready(self, instance_id: str) -> None:
        """Take in what is true of an instance that responds, and was a claim before."""
        row, holder = self.membership.get(instance_id), self.joins.holders.get(instance_id)
        if row is None or holder is None:
            return
        for session in self.publisher.sessions_of(instance_id):
            self.on_reached(session.local_host)
        before = self.log_identity.current
        if self.log_identity.settle(row, is_trusted=holder.is_trusted):
            log.info("log.known", log=self.log_identity.current, before=before, id=instance_id)
            self._apply_log()

    def _apply_log(self) -> None:
        """Evict each bus that may not have joined by now; let those that were turned away try again."""
        for id_ in self.membership.ids_of(BUS):
            row, holder = self.membership.get(id_), self.joins.holders.get(id_)
            is_trusted = holder is not None and holder.is_trusted
            if row is not None and not self.log_identity.accepts(row, is_trusted=is_trusted):
                self.evict(id_)
        for session in tuple(self.publisher.sessions):
            if session.is_turned_away:
                self.release(session, _ADOPTED)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background, at most until the registry stops."""
        if self._is_open:
            self._tasks.start(work)
        else:
            work.close()

    def report_unhealthy(self, instance_id: str, why: str) -> None:
        """Probe an instance at once, because it did not respond to somebody."""
        if instance_id in self.membership:
            if not self._probes.is_scheduled(instance_id):
                log.info("instance.reported_unhealthy", id=instance_id, reason=why[:_SHOWN])
            self._probes.schedule(instance_id)

    async def _probe(self, instance_id: str) -> None:
        instance = self.membership.get(instance_id)
        if instance is not None and not self.joins.is_stranger(instance_id):
            outcome = await self.dial_backs.probe(instance, PROBE_TIMEOUT)
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
            self._forget()
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
            counts = dict(self._service_memory.update(self.membership.serving(), now))
            if counts != self._remembered:  # sorting all services at each look would cost too much
                self._remembered = {name: counts[name] for name in self.order.in_order(counts)}
            self._remember_services(self._remembered)

    def _forget(self) -> None:
        """Forget the place of services that have been gone for long."""
        if self.now() >= self._forget_at:
            self._forget_at = self.now() + _FORGET_EVERY
            self.order.forget(self.membership.services(), self.wall_clock())

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
            for change in changes:
                if change.why is not None:
                    self.joins.holders.get(change.instance.id)  # forgets who held it
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
