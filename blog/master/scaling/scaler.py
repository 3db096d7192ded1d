"""Scaler: joins manual numbers, schedules and load to the desired replicas, service by service.

It decides (`decide`, with everything as arguments), remembers what it decided and logs each change.
Manual numbers are kept in a file as long as the blog runs, for the next master after one that was killed.
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
from blog.master.programs import check_counts
from blog.master.scaling.autoscale import Autoscaler, ServiceLoad
from blog.master.scaling.desired import DesiredReplicas, bounded, desired_replicas, initial
from blog.master.scaling.schedule import ScheduledChange, in_force, upcoming
from blog.master.scaling.spec import ReplicaCount, ScalingSpec

log = get_logger()


class UpcomingChange(NamedTuple):
    """A change that a schedule will make; `held` is the manual number that prevents it, or None."""

    service: str
    change: ScheduledChange
    held: int | None


class _ManualReplicas(RootModel[dict[str, ReplicaCount]]):
    """`{"comments": 3}`: the manual numbers."""


class Scaler:
    """Decides for the services of `specs`. Manual numbers are kept in `state_file`, if given."""

    def __init__(self, specs: Mapping[str, ScalingSpec], state_file: Path | None = None) -> None:
        self.manual: dict[str, int] = {}
        self.desired: dict[str, DesiredReplicas] = {}
        self._specs = dict(specs)
        self._autoscalers = {name: Autoscaler() for name in specs}
        self._state_file = state_file

    def set_manual(self, counts: Mapping[str, int | None]) -> None:
        """Set the number of replicas by hand; None ends that. Raises SettingsError, changing nothing."""
        for name, count in check_counts(counts, self._specs).items():
            if count is not None:
                self.manual[name] = count
            elif self.manual.pop(name, None) is not None and name in self.desired:
                self.desired[name] = self.desired[name]._replace(
                    why="set by hand before, until the load changes"
                )
        if self._state_file is not None:
            write_atomically(self._state_file, json.dumps(self.manual), is_durable=False)

    def restore(self) -> None:
        """Restore the manual numbers of a master that was killed."""
        if self._state_file is None or not self._state_file.exists():
            return
        try:
            self.manual = _ManualReplicas.model_validate_json(self._state_file.read_bytes()).root
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            log.warning("scale.state_unreadable", file=str(self._state_file), reason=reason)
        self.manual = {name: count for name, count in self.manual.items() if name in self._specs}
        if self.manual:
            log.info("scale.restored", **self.manual, until="blog scale NAME=auto")

    def discard(self) -> None:
        """Remove the manual numbers: the next blog starts with those of its file."""
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)

    def adopt(self, running: Mapping[str, int]) -> None:
        """Start with the replicas that run already, so that none is stopped before the load is known."""
        for name, count in running.items():
            if count and name in self._specs:
                self.desired[name] = DesiredReplicas(count, "as it was before")

    def update(self, specs: Mapping[str, ScalingSpec]) -> None:
        """Use other specs from now on."""
        self._specs = dict(specs)

    def decide(
        self, load: Callable[[str], ServiceLoad], now: datetime, monotonic: float
    ) -> dict[str, int]:
        """Return the desired replicas of each service. `load` returns the load of one."""
        for name, spec in self._specs.items():
            decided = self._decided(name, spec, load, now, monotonic)
            before = self.desired.get(name)
            if before is not None and before.replicas != decided.replicas:
                log.info(
                    "scale.decided",
                    service=name,
                    **{"from": before.replicas},
                    to=decided.replicas,
                    reason=decided.why,
                )
            self.desired[name] = decided
        return {name: decided.replicas for name, decided in self.desired.items()}

    def _decided(
        self,
        name: str,
        spec: ScalingSpec,
        load: Callable[[str], ServiceLoad],
        now: datetime,
        monotonic: float,
    ) -> DesiredReplicas:
        scheduled = in_force(spec.schedule, spec.zone, now)
        current = self.desired.get(name) or initial(spec)
        demand = None
        manual = self.manual.get(name)
        if manual is None and spec.autoscale is not None:
            current = bounded(spec, scheduled, current)
            demand = self._autoscalers[name].propose(
                spec.autoscale, load(name), current.replicas, monotonic
            )
        return desired_replicas(spec, manual=manual, scheduled=scheduled, load=demand, current=current)

    def upcoming(self, now: datetime, count: int) -> list[UpcomingChange]:
        """List the next `count` changes of each schedule, in order."""
        changes = [
            UpcomingChange(name, change, self.manual.get(name))
            for name, spec in self._specs.items()
            for change in islice(upcoming(spec.schedule, spec.zone, now), count)
        ]
        return sorted(changes, key=lambda one: one.change.time.timestamp())

    def __repr__(self) -> str:
        """Show the desired replicas, and why."""
        return f"<Scaler: {', '.join(f'{n}={d.replicas} ({d.why})' for n, d in self.desired.items())}>"
