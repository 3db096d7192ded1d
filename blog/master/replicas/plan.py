"""Desired copies and what there is → what to start and stop. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from blog.core.backoff import Backoff, Failures

RESTART_BACKOFF = Backoff(0.2, 10.0)
"""Seconds before a replica that crashed is started again."""
HEALTHY_AFTER = 30.0
"""Seconds of life after which a crash counts as the first one again."""
LOOP_AFTER = 3
"""Crashes in a row that are called a crash loop."""


@dataclass(slots=True)
class Replica:
    """One copy of a service that should run: `comments-2`."""

    service: str
    number: int
    started: float = 0.0
    is_running: bool = False
    is_stopping: bool = False
    goes_first: bool = False
    """Whether it is the first to be stopped when there are too many (a rollout wants it gone)."""
    start_at: float = float("-inf")
    failures: Failures = field(default_factory=lambda: Failures(HEALTHY_AFTER))
    restarts: int = 0
    last_words: list[str] = field(default_factory=list, compare=False)
    """The last lines that it logged before it crashed last."""
    refusal: str = ""
    """Why it cannot run at all, as it said itself (exit code 2); nothing for one that crashed."""

    @property
    def is_given_up(self) -> bool:
        """Return whether nobody should wait for it: it is tried again, and will hardly succeed."""
        return not self.is_stopping and (bool(self.refusal) or self.is_crash_loop)

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
        """What people call it."""
        return f"{self.service}-{self.number}"


class ReplicaPlan(NamedTuple):
    """What to do now, and when to look again (None: when something happens)."""

    start: list[Replica]
    stop: list[Replica]
    look_again: float | None


def plan(desired: Mapping[str, int], copies: Iterable[Replica], now: float) -> ReplicaPlan:
    """Compare; new copies get the lowest free number, victims are the newest.

    Before those, whoever is down after a crash; and before those, whoever is to go first.
    """
    kept = [copy for copy in copies if not copy.is_stopping]
    start: list[Replica] = []
    stop: list[Replica] = []
    for service, count in desired.items():
        mine = sorted((c for c in kept if c.service == service), key=_least_to_go)
        stop += mine[count:]
        start += [c for c in mine[:count] if not c.is_running and c.start_at <= now]
        taken = {c.number for c in copies if c.service == service}
        start += [Replica(service, number) for number in _free(taken, count - len(mine))]
    waiting = [c.start_at for c in kept if not c.is_running and c.start_at > now and c not in stop]
    return ReplicaPlan(start, stop, min(waiting, default=None))


def _least_to_go(copy: Replica) -> tuple[bool, bool, float, int]:
    return copy.goes_first, not copy.is_running, copy.started, copy.number


def _free(taken: set[int], count: int) -> list[int]:
    """Return the lowest `count` numbers from 1 that nobody has."""
    numbers: list[int] = []
    candidate = 1
    while len(numbers) < count:
        if candidate not in taken:
            numbers.append(candidate)
        candidate += 1
    return numbers
