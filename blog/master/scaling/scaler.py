"""The scaler: what was said by hand, what the clock says and what the load needs, service by service.

It decides (`decide`, with everything as arguments), remembers what it decided and logs each change. What
was said by hand is kept in a file as long as the blog runs: a master that was killed knows it again.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import RootModel, ValidationError

from blog.core.files.atomic import write_atomically
from blog.core.logs import get_logger
from blog.master.scaling.autoscale import Autoscaler, ServiceLoad
from blog.master.scaling.schedule import ScheduledChange, coming, in_force
from blog.master.scaling.spec import Replicas, checked
from blog.master.scaling.wanted import DesiredReplicas, ScalingPolicy, first, wanted, within

log = get_logger()


class UpcomingChange(NamedTuple):
    """A change that a schedule will make; `held` is the number by hand that keeps it from being made."""

    service: str
    change: ScheduledChange
    held: int | None


class _ServiceMemory(RootModel[dict[str, Replicas]]):
    """`{"comments": 3}`: what was said by hand."""


class Scaler:
    """Decides for the services of `policies`. What is said by hand is kept at `memory`, if given."""

    def __init__(self, policies: Mapping[str, ScalingPolicy], memory: Path | None = None) -> None:
        self.by_hand: dict[str, int] = {}
        self.wanted: dict[str, DesiredReplicas] = {}
        self._policies = dict(policies)
        self._autoscalers = {name: Autoscaler() for name in policies}
        self._memory = memory

    def say(self, said: Mapping[str, int | None]) -> None:
        """Take a word by hand: so many of each; None: as the file has it. Raises SettingsError."""
        for name, count in checked(said, self._policies).items():
            if count is not None:
                self.by_hand[name] = count
            elif self.by_hand.pop(name, None) is not None and name in self.wanted:
                self.wanted[name] = self.wanted[name]._replace(
                    why="as it was by hand, until the load changes"
                )
        if self._memory is not None:
            write_atomically(self._memory, json.dumps(self.by_hand), is_durable=False)

    def recall(self) -> None:
        """Take up what was said to a master that did not end in order."""
        if self._memory is None or not self._memory.exists():
            return
        try:
            self.by_hand = _ServiceMemory.model_validate_json(self._memory.read_bytes()).root
        except ValidationError:
            log.warning("scale.memory_unreadable", file=str(self._memory))
        self.by_hand = {name: count for name, count in self.by_hand.items() if name in self._policies}
        if self.by_hand:
            log.info("scale.recalled", **self.by_hand, until="blog scale NAME=auto")

    def forget(self) -> None:
        """End in order: the next blog begins as its file has it."""
        if self._memory is not None:
            self._memory.unlink(missing_ok=True)

    def adopt(self, running: Mapping[str, int]) -> None:
        """Begin with what runs already, where the load decides: nobody is stopped before it is known."""
        for name, count in running.items():
            if count and name in self._policies:
                self.wanted[name] = DesiredReplicas(count, "as it was before")

    def follow(self, policies: Mapping[str, ScalingPolicy]) -> None:
        """Take up another file."""
        self._policies = dict(policies)

    def decide(
        self, load: Callable[[str], ServiceLoad], now: datetime, monotonic: float
    ) -> dict[str, int]:
        """Decide how many of each there should be. `load` tells what a service has to do."""
        for name, policy in self._policies.items():
            decided = self._decided(name, policy, load, now, monotonic)
            before = self.wanted.get(name)
            if before is not None and before.copies != decided.copies:
                log.info(
                    "scale.decided",
                    service=name,
                    **{"from": before.copies},
                    to=decided.copies,
                    why=decided.why,
                )
            self.wanted[name] = decided
        return {name: decided.copies for name, decided in self.wanted.items()}

    def _decided(
        self,
        name: str,
        policy: ScalingPolicy,
        load: Callable[[str], ServiceLoad],
        now: datetime,
        monotonic: float,
    ) -> DesiredReplicas:
        scheduled = in_force(policy.schedule, policy.zone, now)
        current = self.wanted.get(name) or first(policy)
        need = None
        by_hand = self.by_hand.get(name)
        if by_hand is None and policy.autoscale is not None:
            current = within(policy, scheduled, current)
            need = self._autoscalers[name].judge(policy.autoscale, load(name), current.copies, monotonic)
        return wanted(policy, by_hand=by_hand, scheduled=scheduled, load=need, current=current)

    def coming(self, now: datetime, count: int) -> list[UpcomingChange]:
        """List the next `count` changes of each schedule, in order."""
        changes = [
            UpcomingChange(name, change, self.by_hand.get(name))
            for name, policy in self._policies.items()
            for change in islice(coming(policy.schedule, policy.zone, now), count)
        ]
        return sorted(changes, key=lambda one: one.change.time.timestamp())

    def __repr__(self) -> str:
        """Show how many, and why."""
        return f"<Scaler: {', '.join(f'{n}={w.copies} ({w.why})' for n, w in self.wanted.items())}>"
