"""Status: what runs, how many replicas of each service and why, as rows for `blog ps`."""

import socket
from datetime import datetime
from typing import Any

from blog.core.clock import Clock
from blog.core.instance import Instance, State
from blog.core.numbers import whole
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.runtimes.base import RunningReplica
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.signals import LoadSignals

CRASH_LOOP, CANNOT_RUN = "crash loop", "cannot run"
_SHOWN_LINES = 5
_MAX_PID = 2**31 - 1


class StatusTable:
    """Joins what the signals know, what runs, and what is desired."""

    def __init__(
        self, reconciler: Reconciler, scaler: Scaler, signals: LoadSignals, clock: Clock
    ) -> None:
        self._reconciler = reconciler
        self._scaler = scaler
        self._signals = signals
        self._clock = clock

    async def rows(self) -> list[dict[str, Any]]:
        """List every instance, and every replica that is not registered (yet, or any more)."""
        await self._signals.refresh()
        lag = await self._signals.lags()
        instances = self._signals.instances
        known = [(one, self._reconciler.replica_of(one)) for one in instances]
        rows = [self._of_instance(one, replica, lag.get(one.id)) for one, replica in known]
        named = {replica.name for _, replica in known if replica is not None}
        rows += [
            self._of_replica(replica)
            for replica in self._reconciler.replicas
            if replica.name not in named
        ]
        rows = [row | self._of_service(row["service"]) for row in rows]
        return sorted(rows, key=lambda row: (row["service"], row["name"] or row["id"]))

    async def services(self) -> list[dict[str, Any]]:
        """List the services: how many replicas are desired and ready, why, and their load."""
        await self._signals.refresh()
        return [
            {
                "service": name,
                "ready": sum(
                    one.service == name and one.state is State.READY for one in self._signals.instances
                ),
                "copies": sum(replica.service == name for replica in self._reconciler.replicas),
                "crash_loops": self._crash_loops(name),
                "in_flight": self._signals.load(name).in_flight,
                "waiting": self._signals.waiting(name),
                **self._of_service(name),
            }
            for name in sorted(self._scaler.desired)
        ]

    def passed_over(self) -> list[str]:
        """List the rows that others sent and that could not be read, a line each."""
        return [f"{what}: {row}" for what, rows in self._signals.passed_over.items() for row in rows]

    def _of_service(self, name: str) -> dict[str, Any]:
        """Return what all replicas of a service share. Rates are of requests through the gateway."""
        desired = self._scaler.desired.get(name)
        rate = self._signals.rate(name)
        return {
            "wanted": desired.replicas if desired else None,
            "why": desired.why if desired else "not run by this master",
            "requests_s": round(rate.per_second, 1),
            "p99_ms": None if rate.p99 is None else round(rate.p99 * 1000, 1),
        }

    def _of_instance(
        self, instance: Instance, replica: Replica | None, lag: int | None
    ) -> dict[str, Any]:
        """Describe an instance. `lag`: events that its view has yet to apply, None without a view."""
        running = self._reconciler.running.get(replica.name) if replica else None
        return {
            "id": instance.id,
            "service": instance.service,
            "state": str(instance.state),
            "address": instance.address,
            "version": instance.version,
            "uptime_s": self._age(instance.running_since),
            "since_s": self._age(self._signals.since(instance)),
            "in_flight": instance.load.in_flight,
            "behind": self._signals.waiting(instance.service) if lag is None else lag,
            "name": replica.name if replica else "",
            "restarts": replica.restarts if replica else 0,
            "pid": _pid(instance, running),
        }

    def _of_replica(self, replica: Replica) -> dict[str, Any]:
        running = self._reconciler.running.get(replica.name)
        state = "starting" if replica.is_running else "crashed"
        state = "stopping" if replica.is_stopping else state
        since = max(0.0, self._clock.monotonic() - replica.started)
        return {
            "id": "",
            "service": replica.service,
            "state": _failing_state(replica) or state,
            "address": "",
            "version": "",
            "uptime_s": round(since) if replica.is_running else 0,
            "since_s": round(since),
            "in_flight": 0,
            "behind": None,
            "name": replica.name,
            "restarts": replica.restarts,
            "pid": running.pid if running and replica.is_running else 0,
            "last_lines": _shown_lines(replica) if replica.is_failing else [],
        }

    def _crash_loops(self, service: str) -> list[dict[str, Any]]:
        """List the replicas that crash again and again, or cannot run, with their last lines."""
        healthy = {
            replica.name
            for one in self._signals.instances
            if (replica := self._reconciler.replica_of(one))
        }
        return [
            {"name": replica.name, "state": _failing_state(replica), "last_lines": _shown_lines(replica)}
            for replica in self._reconciler.failing(service)
            if replica.name not in healthy
        ]

    def _age(self, started: datetime) -> int:
        return max(0, round((self._clock.now() - started).total_seconds()))


def _failing_state(replica: Replica) -> str:
    """Return the state of a replica that fails again and again; "" for others."""
    if not replica.is_failing:
        return ""
    return CANNOT_RUN if replica.config_error else CRASH_LOOP


def _pid(instance: Instance, running: RunningReplica | None) -> int:
    """Return the process of an instance, as far as this machine knows one; 0 if it knows none.

    What an instance says of itself may be anything; of another machine it would be another process here.
    """
    if running is not None:
        return running.pid
    here = socket.gethostname()
    if instance.metadata.get("host", here) != here:
        return 0
    pid = whole(instance.metadata.get("pid", "")) or 0
    return pid if pid <= _MAX_PID else 0


def _shown_lines(replica: Replica) -> list[str]:
    return [replica.config_error] if replica.config_error else replica.last_lines[-_SHOWN_LINES:]
