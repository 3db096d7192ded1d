"""Who is alive: the rules, pure. Facts and `now` (monotonic seconds) in, changes and probes out.

The rules for mass loss (half of the instances silent at once: it is us who are cut off), for restarts
(epochs, `complete` snapshots) and for several registries belong here too, in `_expire` and `join`.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from blog.core.instance import Departure, Instance, Load, State

SUSPECT_AFTER = 3.0
"""Seconds without a beat until an instance is suspect."""
PROBE_EVERY = 0.5
"""Seconds between probes of a suspect."""
LOST_AFTER = 10.0
"""Seconds of silence in all until a suspect is lost."""


class Signal(Enum):
    """What is learnt of an instance."""

    ADMITTED = auto()
    HEARD = auto()
    SILENT = auto()
    DRAINS = auto()


TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.STARTING: {Signal.ADMITTED: State.READY, Signal.DRAINS: State.DRAINING},
    State.READY: {Signal.SILENT: State.SUSPECT, Signal.DRAINS: State.DRAINING},
    State.SUSPECT: {
        Signal.HEARD: State.READY,
        Signal.ADMITTED: State.READY,
        Signal.DRAINS: State.DRAINING,
    },
    State.DRAINING: {},
}
"""What a signal makes of a state; a signal that is not listed changes nothing."""


class Probe(Enum):
    """What came of dialling an instance."""

    ANSWERED = auto()
    SILENT = auto()
    REFUSED = auto()


class Change(NamedTuple):
    """One row of the table as it is now, or with `why` if the instance is gone."""

    instance: Instance
    why: Departure | None = None


@dataclass(slots=True)
class _Record:
    """What is kept of one instance beside its row."""

    instance: Instance
    heard: float
    lease: float | None = None
    probed: float = float("-inf")


class Membership:
    """The table of instances. Each call notes what changed; `take_changes` hands that out."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._changes: dict[str, Change] = {}

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Everybody in the table, with their last known load."""
        return tuple(record.instance for record in self._records.values())

    def get(self, instance_id: str) -> Instance | None:
        """Return the row of an instance, None if there is none."""
        record = self._records.get(instance_id)
        return record.instance if record else None

    def join(self, instance: Instance, now: float, lease: float | None = None) -> None:
        """Enter `instance` as starting; with a `lease` (seconds) it is gone when no beat renews it.

        An instance that joins again (its socket came back) keeps its state.
        """
        known = self._records.get(instance.id)
        state = known.instance.state if known else State.STARTING
        self._records[instance.id] = _Record(instance, now, lease)
        self._enter(self._records[instance.id], state)
        self._signal(instance.id, Signal.HEARD)

    def beat(self, instance_id: str, load: Load | None, now: float) -> bool:
        """Note a sign of life; tell whether the instance is known."""
        record = self._records.get(instance_id)
        if record is None:
            return False
        record.heard = now
        if load is not None:
            # not a change that anybody is told of: load is read from here
            record.instance = record.instance.model_copy(update={"load": load})
        self._signal(instance_id, Signal.HEARD)
        return True

    def admit(self, instance_id: str) -> None:
        """Let others see the instance as ready: the dial-back worked."""
        self._signal(instance_id, Signal.ADMITTED)

    def drain(self, instance_id: str) -> None:
        """Give the instance no new traffic."""
        self._signal(instance_id, Signal.DRAINS)

    def remove(self, instance_id: str, why: Departure) -> None:
        """Take the instance out of the table, if it is in it."""
        record = self._records.pop(instance_id, None)
        if record is not None:
            gone = record.instance.model_copy(update={"state": State.GONE})
            self._changes[instance_id] = Change(gone, why)

    def probed(self, instance_id: str, result: Probe, now: float) -> None:
        """Draw the conclusion from a probe: refused is gone, answered is alive, silent is suspect."""
        match result:
            case Probe.REFUSED:
                self.remove(instance_id, Departure.LOST)
            case Probe.ANSWERED:
                self.beat(instance_id, None, now)
            case Probe.SILENT:
                self._signal(instance_id, Signal.SILENT)

    def expire(self, now: float) -> list[Instance]:
        """Let time pass: suspect, or take out, who has been silent; return whom to probe now."""
        for instance_id, record in list(self._records.items()):
            self._expire(instance_id, record, now)
        due = [record for record in self._records.values() if _needs_probe(record, now)]
        for record in due:
            record.probed = now
        return [record.instance for record in due]

    def take_changes(self) -> list[Change]:
        """Hand out what changed since the last call, one change per instance."""
        changes, self._changes = list(self._changes.values()), {}
        return changes

    def _expire(self, instance_id: str, record: _Record, now: float) -> None:
        silence = now - record.heard
        if silence >= (record.lease or LOST_AFTER):
            self.remove(instance_id, Departure.LOST)
        elif record.lease is None and silence >= SUSPECT_AFTER:
            self._signal(instance_id, Signal.SILENT)

    def _signal(self, instance_id: str, signal: Signal) -> None:
        record = self._records.get(instance_id)
        if record is None:
            return
        state = TRANSITIONS[record.instance.state].get(signal)
        if state is not None:
            self._enter(record, state)

    def _enter(self, record: _Record, state: State) -> None:
        record.instance = record.instance.model_copy(update={"state": state})
        self._changes[record.instance.id] = Change(record.instance)

    def __repr__(self) -> str:
        """Show the table, a word per instance."""
        table = ", ".join(f"{item.id}={item.state}" for item in self.instances)
        return f"<Membership: {table or 'nobody'}>"


def _needs_probe(record: _Record, now: float) -> bool:
    return record.instance.state is State.SUSPECT and now - record.probed >= PROBE_EVERY
