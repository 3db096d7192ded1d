"""Membership: the rules of which instances are alive. Pure.

Facts and `now` (monotonic seconds) go in, changes and probes come out. Silence is measured in the
registry's own time: time in which its loop was blocked counts against no instance.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blog.core.instance import Instance, Load, State
from blog.registry.server.completeness import Completeness
from blog.registry.server.transitions import (
    TRANSITIONS,
    MemberSignal,
    ProbeResult,
    RemovalCause,
    StateChange,
)

SUSPECT_AFTER = 3.0
"""Seconds without a heartbeat until an instance is suspect."""
PROBE_EVERY = 0.5
"""Seconds between probes of a suspect."""
LOST_AFTER = 10.0
"""Seconds of silence in all until a suspect is lost."""
SELF_PRESERVATION_FROM = 4
"""Instances from which on self-preservation begins when half of them go silent at once."""
SELF_PRESERVATION_WINDOW = 5.0
"""Seconds within which they must go silent for that."""
PROBES_AT_ONCE = 50
"""Instances that one call of `expire` returns: a registry that is cut off must not probe all at once."""


@dataclass(slots=True)
class _MemberRecord:
    """The state of one instance beside its row; `timeout` is how long it may be silent, in seconds."""

    instance: Instance
    last_heard: float
    lease: float | None
    timeout: float
    load: Load
    last_probed: float = float("-inf")
    is_counted: bool = False


class Membership:
    """The table of instances. Each call records what changed; `take_changes` returns that.

    `began` is when the registry started, `remembered` how many instances of each service it knew before.
    """

    def __init__(self, began: float = 0.0, remembered: Mapping[str, int] | None = None) -> None:
        self.joins = self.suspicions = self.self_preservations = 0
        self.departures = Counter[RemovalCause]()
        self.is_self_preserving = False
        """Set while half of all instances are silent: we are probably cut off, so none is lost for it."""
        self._records: dict[str, _MemberRecord] = {}
        self._suspects: set[str] = set()
        self._changes: dict[str, StateChange] = {}
        self._own_delay = 0.0
        self._serving = Counter[str]()
        self._completeness = Completeness(began, remembered)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every instance in the table, with its last known load."""
        return tuple(_shown(record) for record in self._records.values())

    def get(self, instance_id: str) -> Instance | None:
        """Return the row of an instance, None if there is none."""
        record = self._records.get(instance_id)
        return _shown(record) if record else None

    def __contains__(self, instance_id: object) -> bool:
        """Return whether the instance is in the table."""
        return instance_id in self._records

    def ids_of(self, service: str) -> list[str]:
        """Return the ids of the instances of a service, in any state."""
        return [id_ for id_, record in self._records.items() if record.instance.service == service]

    def departed_from(self, instance_id: str) -> str | None:
        """Return the service of an instance that is gone, if followers are yet to be told."""
        change = self._changes.get(instance_id)
        return change.instance.service if change is not None and change.why is not None else None

    def services(self) -> set[str]:
        """Return the services that have an instance, in any state."""
        return {record.instance.service for record in self._records.values()}

    def counts(self) -> Counter[State]:
        """Count the instances by state."""
        return Counter(record.instance.state for record in self._records.values())

    def serving(self) -> dict[str, int]:
        """Count the instances of each service that may get traffic."""
        return dict(self._serving)

    # What instances send.

    def join(self, instance: Instance, now: float, lease: float | None = None) -> None:
        """Add `instance` as starting; with a `lease` (seconds) it is lost when no heartbeat renews it.

        An instance that joins again at the same address (it reconnected) keeps its state. At another
        address it gets no traffic before that was dialled.
        """
        known = self._records.get(instance.id)
        state = _state_of_return(known.instance, instance) if known else State.STARTING
        if known is None:
            self.joins += 1
        else:
            self._count(known, is_serving=False)
        record = _MemberRecord(instance, self._time(now), lease, lease or SUSPECT_AFTER, instance.load)
        self._records[instance.id] = record
        self._enter(record, state)
        self._signal(record, MemberSignal.HEARD)

    def heartbeat(self, instance_id: str, load: Load | None, now: float) -> bool:
        """Record a heartbeat; return whether the instance is known. A new load is not a change."""
        record = self._records.get(instance_id)
        if record is None:
            return False
        record.last_heard = self._time(now)
        if load is not None:
            record.load = load
        if record.instance.state is State.SUSPECT:
            self._signal(record, MemberSignal.HEARD)
        return True

    def admit(self, instance_id: str) -> None:
        """Make the instance ready for others: the dial-back succeeded."""
        self._signal(self._records.get(instance_id), MemberSignal.ADMITTED)

    def drain(self, instance_id: str) -> None:
        """Mark the instance as draining: it gets no new traffic."""
        self._signal(self._records.get(instance_id), MemberSignal.DRAINS)

    def remove(self, instance_id: str, cause: RemovalCause) -> None:
        """Remove the instance from the table, if it is there."""
        record = self._records.pop(instance_id, None)
        if record is not None:
            self.departures[cause] += 1
            self._suspects.discard(instance_id)
            self._count(record, is_serving=False)
            self._completeness.resolve(instance_id)
            gone = record.instance.model_copy(update={"state": State.GONE})
            self._changes[instance_id] = StateChange(gone, cause.departure)

    # What the registry finds out.

    def record_probe(
        self, instance_id: str, result: ProbeResult, now: float, address: str | None = None
    ) -> None:
        """Apply the result of a probe: refused is lost, answered is alive, silent is suspect.

        A probe of another `address` than the instance has now is ignored.
        """
        record = self._records.get(instance_id)
        if record is None or address not in (None, record.instance.address):
            return
        match result:
            case ProbeResult.REFUSED:
                self.remove(instance_id, RemovalCause.REFUSED)
            case ProbeResult.ANSWERED:
                # a lease is renewed only by its holder, unless it is we who are cut off
                if record.lease is None or self.is_self_preserving:
                    record.last_heard = self._time(now)
                self._signal(record, MemberSignal.HEARD)
            case ProbeResult.SILENT:
                self._signal(record, MemberSignal.SILENT)

    def expire(self, now: float, late: float = 0.0) -> list[Instance]:
        """Suspect, or remove, instances that have been silent; return those to probe now.

        `late` is by how many seconds this call comes later than it was scheduled.
        """
        self._own_delay += late
        time = self._time(now)
        overdue = [one for one in self._records.values() if one.last_heard + one.timeout <= time]
        self._update_self_preservation(overdue, time)
        for record in overdue:
            self._expire(record, time)
        return self._to_probe(overdue, time)

    def has_changes(self) -> bool:
        """Return whether `take_changes` would return any."""
        return bool(self._changes)

    def take_changes(self) -> list[StateChange]:
        """Return what changed since the last call, one change per instance."""
        changes, self._changes = list(self._changes.values()), {}
        return changes

    # A restart.

    def expect(self, ids: Iterable[str], now: float) -> None:
        """Wait for instances that a follower knew before; only after the start of a registry."""
        self._completeness.expect(ids, now)

    def expect_services(self, services: Mapping[str, int]) -> None:
        """Wait until so many of each service are ready, as a master says; only after the start."""
        self._completeness.expect_services(services)

    def is_complete(self, now: float) -> bool:
        """Return whether no instance is missing only because the registry has just started."""
        return self._completeness.is_complete(now, self._serving)

    def _time(self, now: float) -> float:
        return now - self._own_delay

    def _update_self_preservation(self, overdue: list[_MemberRecord], time: float) -> None:
        """Begin when half of all go silent at once; end when more than half are heard again."""
        total = len(self._records)
        if self.is_self_preserving:
            self.is_self_preserving = total > 0 and 2 * len(overdue) >= total
            if not self.is_self_preserving:
                self._restart_overdue(overdue, time)
            return
        recent = sum(time - (one.last_heard + one.timeout) < SELF_PRESERVATION_WINDOW for one in overdue)
        if total >= SELF_PRESERVATION_FROM and 2 * recent >= total:
            self.is_self_preserving = True
            self.self_preservations += 1

    @staticmethod
    def _restart_overdue(overdue: list[_MemberRecord], time: float) -> None:
        """Treat instances that are still silent as overdue since now: the others came back first."""
        for record in overdue:
            record.last_heard = time - record.timeout

    def _expire(self, record: _MemberRecord, time: float) -> None:
        is_over = record.lease is not None or time - record.last_heard >= LOST_AFTER
        if is_over and not self.is_self_preserving:
            ended = RemovalCause.SILENT if record.lease is None else RemovalCause.LEASE_ENDED
            self.remove(record.instance.id, ended)
        else:
            self._signal(record, MemberSignal.SILENT)

    def _to_probe(self, overdue: list[_MemberRecord], time: float) -> list[Instance]:
        ids = {record.instance.id for record in overdue} | self._suspects
        records = [self._records[id_] for id_ in ids if id_ in self._records]
        due = [record for record in records if time - record.last_probed >= PROBE_EVERY]
        first = heapq.nsmallest(PROBES_AT_ONCE, due, key=lambda record: record.last_probed)
        for record in first:
            record.last_probed = time
        return [record.instance for record in first]

    def _signal(self, record: _MemberRecord | None, signal: MemberSignal) -> None:
        if record is not None:
            state = TRANSITIONS[record.instance.state].get(signal)
            if state is not None:
                self._enter(record, state)

    def _enter(self, record: _MemberRecord, state: State) -> None:
        record.instance = record.instance.model_copy(update={"state": state})
        self._changes[record.instance.id] = StateChange(record.instance)
        self._count(record, is_serving=record.instance.is_serving())
        if state is not State.STARTING:
            self._completeness.resolve(record.instance.id)
        if state is State.SUSPECT:
            self.suspicions += 1
            self._suspects.add(record.instance.id)
        else:
            self._suspects.discard(record.instance.id)

    def _count(self, record: _MemberRecord, *, is_serving: bool) -> None:
        if record.is_counted is not is_serving:
            record.is_counted = is_serving
            service = record.instance.service
            self._serving[service] += 1 if is_serving else -1
            if not self._serving[service]:
                del self._serving[service]  # names may come and go for ever

    def __repr__(self) -> str:
        """Show the table, a word per instance."""
        rows = (record.instance for record in self._records.values())
        table = ", ".join(f"{item.id}={item.state}" for item in rows)
        return f"<Membership{' (self-preservation)' * self.is_self_preserving}: {table or 'empty'}>"


def _state_of_return(known: Instance, now: Instance) -> State:
    """Return the state of an instance that joins again."""
    is_same = known.address == now.address or known.state is State.DRAINING
    return known.state if is_same else State.STARTING


def _shown(record: _MemberRecord) -> Instance:
    return record.instance.model_copy(update={"load": record.load})
