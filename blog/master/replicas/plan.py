"""Plan: desired numbers and the replicas there are → what to start and stop. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from blog.core.backoff import Backoff, Failures

RESTART_BACKOFF = Backoff(0.2, 10.0)
"""Seconds before a replica that crashed is started again."""
HEALTHY_AFTER = 30.0
"""Seconds of life after which a crash counts as the first one again."""
LOOP_AFTER = 3
"""Crashes in a row that make a crash loop."""


@dataclass(slots=True)
class Replica:
    """One replica of a service, running or not: `comments-2`."""

    service: str
    number: int
    started: float = 0.0
    is_running: bool = False
    is_stopping: bool = False
    is_first_to_stop: bool = False
    """Whether it is stopped before the others when there are too many: a rollout replaces it."""
    start_at: float = float("-inf")
    """When it may be started again, on the monotonic clock."""
    failures: Failures = field(default_factory=lambda: Failures(HEALTHY_AFTER))
    """Crashes in a row."""
    restarts: int = 0
    """Crashes since the master started."""
    last_lines: list[str] = field(default_factory=list, compare=False)
    """The last lines that it logged before its last crash."""
    config_error: str = ""
    """Why it cannot run at all, as it reported itself with exit code 2; "" for one that crashed."""

    @property
    def is_failing(self) -> bool:
        """Whether it is not expected to become ready, though it is started again."""
        return not self.is_stopping and (bool(self.config_error) or self.is_crash_loop)

    @property
    def is_crash_loop(self) -> bool:
        """Whether it crashes again and again."""
        return self.failures.count >= LOOP_AFTER

    def crashed(self, now: float) -> float:
        """Count a crash at `now`; return the seconds until it may be started again."""
        self.restarts += 1
        delay = RESTART_BACKOFF.delay(self.failures.add(now - self.started))
        self.is_running = False
        self.start_at = now + delay
        return delay

    @property
    def name(self) -> str:
        """Its name: service and number."""
        return f"{self.service}-{self.number}"


class ReplicaPlan(NamedTuple):
    """What to start and stop now, and when to compare again (None: at the next change)."""

    start: list[Replica]
    stop: list[Replica]
    next_check: float | None


def plan(desired: Mapping[str, int], replicas: Iterable[Replica], now: float) -> ReplicaPlan:
    """Compare. New replicas get the lowest free numbers.

    Of too many, those that are marked to be stopped first are stopped, then those that are down after a
    crash, then the newest.
    """
    kept = [replica for replica in replicas if not replica.is_stopping]
    start: list[Replica] = []
    stop: list[Replica] = []
    for service, count in desired.items():
        existing = sorted((r for r in kept if r.service == service), key=_keep_order)
        stop += existing[count:]
        start += [r for r in existing[:count] if not r.is_running and r.start_at <= now]
        taken = {r.number for r in replicas if r.service == service}
        start += [Replica(service, number) for number in _free(taken, count - len(existing))]
    waiting = [r.start_at for r in kept if not r.is_running and r.start_at > now and r not in stop]
    return ReplicaPlan(start, stop, min(waiting, default=None))


def _keep_order(replica: Replica) -> tuple[bool, bool, float, int]:
    return replica.is_first_to_stop, not replica.is_running, replica.started, replica.number


def _free(taken: set[int], count: int) -> list[int]:
    """Return the lowest `count` numbers from 1 that are free."""
    numbers: list[int] = []
    candidate = 1
    while len(numbers) < count:
        if candidate not in taken:
            numbers.append(candidate)
        candidate += 1
    return numbers
