"""Who runs, and how many of each and why: what registry, gateway, bus and master know, as rows."""

from datetime import datetime
from typing import Any

from blog.core.clock import Clock
from blog.core.instance import Instance, State
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.signals import LoadSignals

CRASH_LOOP, CANNOT_RUN = "crash loop", "cannot run"
_SHOWN_LINES = 5


class StatusTable:
    """Lays beside each other what the signals say, what runs and what is wanted."""

    def __init__(self, master: Reconciler, scaler: Scaler, signals: LoadSignals, clock: Clock) -> None:
        self._master = master
        self._scaler = scaler
        self._signals = signals
        self._clock = clock

    async def rows(self) -> list[dict[str, Any]]:
        """List every instance, and every copy that the registry does not know (yet, or any more)."""
        await self._signals.read()
        behind = await self._signals.behind()
        instances = self._signals.instances
        known = [(one, self._master.copy_of(one)) for one in instances]
        rows = [self._of_instance(one, copy, behind.get(one.id)) for one, copy in known]
        named = {copy.name for _, copy in known if copy is not None}
        rows += [self._of_copy(copy) for copy in self._master.copies if copy.name not in named]
        rows = [row | self._of_service(row["service"]) for row in rows]
        return sorted(rows, key=lambda row: (row["service"], row["name"] or row["id"]))

    async def services(self) -> list[dict[str, Any]]:
        """List how many of each service there should be and are ready, why, and what they have to do."""
        await self._signals.read()
        return [
            {
                "service": name,
                "ready": sum(
                    one.service == name and one.state is State.READY for one in self._signals.instances
                ),
                "copies": sum(copy.service == name for copy in self._master.copies),
                "crash_loops": self._crash_loops(name),
                "in_flight": self._signals.load(name).in_flight,
                "waiting": self._signals.waiting(name),
                **self._of_service(name),
            }
            for name in sorted(self._scaler.wanted)
        ]

    def _of_service(self, name: str) -> dict[str, Any]:
        """Return what all copies of a service share. The rates are those through the gateway."""
        wanted = self._scaler.wanted.get(name)
        rate = self._signals.rate(name)
        return {
            "wanted": wanted.copies if wanted else None,
            "why": wanted.why if wanted else "not run by this master",
            "requests_s": round(rate.per_second, 1),
            "p99_ms": None if rate.p99 is None else round(rate.p99 * 1000, 1),
        }

    def _of_instance(
        self, instance: Instance, copy: Replica | None, behind: int | None
    ) -> dict[str, Any]:
        """Describe an instance. `behind`: events that its view lacks, else those that wait for it."""
        return {
            "id": instance.id,
            "service": instance.service,
            "state": str(instance.state),
            "address": instance.address,
            "version": instance.version,
            "uptime_s": self._age(instance.started_at),
            "since_s": self._age(self._signals.since(instance)),
            "in_flight": instance.load.in_flight,
            "behind": self._signals.waiting(instance.service) if behind is None else behind,
            "name": copy.name if copy else "",
            "restarts": copy.restarts if copy else 0,
            "pid": int(instance.metadata.get("pid", "0")),
        }

    def _of_copy(self, copy: Replica) -> dict[str, Any]:
        running = self._master.running.get(copy.name)
        state = "starting" if copy.is_running else "crashed"
        state = "stopping" if copy.is_stopping else state
        since = max(0.0, self._clock.monotonic() - copy.started)
        return {
            "id": "",
            "service": copy.service,
            "state": _hopeless(copy) or state,
            "address": "",
            "version": "",
            "uptime_s": round(since) if copy.is_running else 0,
            "since_s": round(since),
            "in_flight": 0,
            "behind": None,
            "name": copy.name,
            "restarts": copy.restarts,
            "pid": running.pid if running and copy.is_running else 0,
            "last_lines": _why(copy) if copy.is_given_up else [],
        }

    def _crash_loops(self, service: str) -> list[dict[str, Any]]:
        """List the copies that crash again and again, or cannot run, with their last words."""
        healthy = {copy.name for one in self._signals.instances if (copy := self._master.copy_of(one))}
        return [
            {"name": copy.name, "state": _hopeless(copy), "last_lines": _why(copy)}
            for copy in self._master.given_up(service)
            if copy.name not in healthy
        ]

    def _age(self, started: datetime) -> int:
        return max(0, round((self._clock.now() - started).total_seconds()))


def _hopeless(copy: Replica) -> str:
    """Return the state of a copy that is given up; "" for others."""
    if not copy.is_given_up:
        return ""
    return CANNOT_RUN if copy.refusal else CRASH_LOOP


def _why(copy: Replica) -> list[str]:
    return [copy.refusal] if copy.refusal else copy.last_words[-_SHOWN_LINES:]
