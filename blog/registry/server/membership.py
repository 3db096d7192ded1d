"""Who is alive: the rules, pure. Facts and `now` (monotonic seconds) in, changes and probes out.

Silence counts in the registry's own time: what its loop was late is never counted against anybody.
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
"""Seconds without a beat until an instance is suspect."""
PROBE_EVERY = 0.5
"""Seconds between probes of a suspect."""
LOST_AFTER = 10.0
"""Seconds of silence in all until a suspect is lost."""
GUARDED_FROM = 4
"""Instances from which on losing half of them at once is our fault, not theirs."""
GUARD_WINDOW = 5.0
"""Seconds within which they go silent then."""
PROBES_AT_ONCE = 50
"""Suspects that one call of `expire` hands out: a registry that is cut off has better things to do."""


@dataclass(slots=True)
class _MemberRecord:
    """What is kept of one instance beside its row; `patience` is how long it may be silent."""

    instance: Instance
    heard: float
    lease: float | None
    patience: float
    load: Load
    probed: float = float("-inf")
    is_counted: bool = False


class Membership:
    """The table of instances. Each call notes what changed; `take_changes` hands that out.

    `began` is when the registry started, `before` how many instances of each service it knew before that.
    """

    def __init__(self, began: float = 0.0, before: Mapping[str, int] | None = None) -> None:
        self.joins = self.suspicions = self.guards = 0
        self.departures = Counter[RemovalCause]()
        self.is_self_preserving = False
        """Set while nobody is lost for being silent, since half of all are: it is we who are cut off."""
        self._records: dict[str, _MemberRecord] = {}
        self._suspects: set[str] = set()
        self._changes: dict[str, StateChange] = {}
        self._stretched = 0.0
        self._serving = Counter[str]()
        self._completeness = Completeness(began, before)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Everybody in the table, with their last known load."""
        return tuple(_shown(record) for record in self._records.values())

    def get(self, instance_id: str) -> Instance | None:
        """Return the row of an instance, None if there is none."""
        record = self._records.get(instance_id)
        return _shown(record) if record else None

    def counts(self) -> Counter[State]:
        """Count the instances by state."""
        return Counter(record.instance.state for record in self._records.values())

    def serving(self) -> dict[str, int]:
        """Count the instances of each service that may get traffic."""
        return dict(+self._serving)

    # What instances say.

    def join(self, instance: Instance, now: float, lease: float | None = None) -> None:
        """Enter `instance` as starting; with a `lease` (seconds) it is gone when no beat renews it.

        An instance that joins again at the same address (its socket came back) keeps its state;
        nobody gets traffic at another address before that was dialled.
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

    def beat(self, instance_id: str, load: Load | None, now: float) -> bool:
        """Note a sign of life; tell whether the instance is known. Load is no change."""
        record = self._records.get(instance_id)
        if record is None:
            return False
        record.heard = self._time(now)
        if load is not None:
            record.load = load
        if record.instance.state is State.SUSPECT:
            self._signal(record, MemberSignal.HEARD)
        return True

    def admit(self, instance_id: str) -> None:
        """Let others see the instance as ready: the dial-back worked."""
        self._signal(self._records.get(instance_id), MemberSignal.ADMITTED)

    def drain(self, instance_id: str) -> None:
        """Give the instance no new traffic."""
        self._signal(self._records.get(instance_id), MemberSignal.DRAINS)

    def remove(self, instance_id: str, cause: RemovalCause) -> None:
        """Take the instance out of the table, if it is in it."""
        record = self._records.pop(instance_id, None)
        if record is not None:
            self.departures[cause] += 1
            self._suspects.discard(instance_id)
            self._count(record, is_serving=False)
            self._completeness.met(instance_id)
            gone = record.instance.model_copy(update={"state": State.GONE})
            self._changes[instance_id] = StateChange(gone, cause.departure)

    # What the registry finds out.

    def probed(
        self, instance_id: str, result: ProbeResult, now: float, address: str | None = None
    ) -> None:
        """Draw the conclusion from a probe: refused is gone, answered is alive, silent is suspect.

        A probe of another `address` than it has by now says nothing.
        """
        record = self._records.get(instance_id)
        if record is None or address not in (None, record.instance.address):
            return
        match result:
            case ProbeResult.REFUSED:
                self.remove(instance_id, RemovalCause.REFUSED)
            case ProbeResult.ANSWERED:
                # a lease is renewed by who holds it, unless it is we who cannot hear that
                if record.lease is None or self.is_self_preserving:
                    record.heard = self._time(now)
                self._signal(record, MemberSignal.HEARD)
            case ProbeResult.SILENT:
                self._signal(record, MemberSignal.SILENT)

    def expire(self, now: float, late: float = 0.0) -> list[Instance]:
        """Let time pass: suspect, or take out, who has been silent; return whom to probe now.

        `late` is by how many seconds this call comes later than it was meant to.
        """
        self._stretched += late
        time = self._time(now)
        overdue = [one for one in self._records.values() if one.heard + one.patience <= time]
        self._guard(overdue, time)
        for record in overdue:
            self._expire(record, time)
        return self._to_probe(overdue, time)

    def has_changes(self) -> bool:
        """Tell whether `take_changes` has something."""
        return bool(self._changes)

    def take_changes(self) -> list[StateChange]:
        """Hand out what changed since the last call, one change per instance."""
        changes, self._changes = list(self._changes.values()), {}
        return changes

    # A restart.

    def expect(self, ids: Iterable[str], now: float) -> None:
        """Note whom a follower knew before; at the start of a registry they have to come back."""
        self._completeness.expect(ids, now)

    def expect_services(self, services: Mapping[str, int]) -> None:
        """Note how many of each service a master keeps running; at the start they have to be ready."""
        self._completeness.name(services)

    def is_complete(self, now: float) -> bool:
        """Return whether nobody is missing only because the registry has just started."""
        return self._completeness.is_reached(now, self._serving)

    def _time(self, now: float) -> float:
        return now - self._stretched

    def _guard(self, overdue: list[_MemberRecord], time: float) -> None:
        """Begin when half of all go silent at once; end when more than half are heard again."""
        total = len(self._records)
        if self.is_self_preserving:
            self.is_self_preserving = total > 0 and 2 * len(overdue) >= total
            if not self.is_self_preserving:
                self._excuse(overdue, time)
            return
        recent = sum(time - (one.heard + one.patience) < GUARD_WINDOW for one in overdue)
        if total >= GUARDED_FROM and 2 * recent >= total:
            self.is_self_preserving = True
            self.guards += 1

    @staticmethod
    def _excuse(overdue: list[_MemberRecord], time: float) -> None:
        """Count the silence of who is not heard yet from its beginning: the others came first."""
        for record in overdue:
            record.heard = time - record.patience

    def _expire(self, record: _MemberRecord, time: float) -> None:
        is_over = record.lease is not None or time - record.heard >= LOST_AFTER
        if is_over and not self.is_self_preserving:
            ended = RemovalCause.SILENT if record.lease is None else RemovalCause.LEASE_ENDED
            self.remove(record.instance.id, ended)
        else:
            self._signal(record, MemberSignal.SILENT)

    def _to_probe(self, overdue: list[_MemberRecord], time: float) -> list[Instance]:
        doubted = {record.instance.id for record in overdue} | self._suspects
        records = [self._records[id_] for id_ in doubted if id_ in self._records]
        due = [record for record in records if time - record.probed >= PROBE_EVERY]
        first = heapq.nsmallest(PROBES_AT_ONCE, due, key=lambda record: record.probed)
        for record in first:
            record.probed = time
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
            self._completeness.met(record.instance.id)
        if state is State.SUSPECT:
            self.suspicions += 1
            self._suspects.add(record.instance.id)
        else:
            self._suspects.discard(record.instance.id)

    def _count(self, record: _MemberRecord, *, is_serving: bool) -> None:
        if record.is_counted is not is_serving:
            record.is_counted = is_serving
            self._serving[record.instance.service] += 1 if is_serving else -1

    def __repr__(self) -> str:
        """Show the table, a word per instance."""
        rows = (record.instance for record in self._records.values())
        table = ", ".join(f"{item.id}={item.state}" for item in rows)
        return f"<Membership{' (guarded)' * self.is_self_preserving}: {table or 'nobody'}>"


def _state_of_return(known: Instance, now: Instance) -> State:
    """Return the state of who joins again."""
    is_same = known.address == now.address or known.state is State.DRAINING
    return known.state if is_same else State.STARTING


def _shown(record: _MemberRecord) -> Instance:
    return record.instance.model_copy(update={"load": record.load})
