"""Dispatch: which events may be sent now, for one subscription. Pure: no I/O, no clock, no randomness.

Events of a key are sent in order, and only one batch at a time has events of it; keys are independent.
The position is a watermark plus what is settled above it. After a dead event the later ones of its key
are parked: on disk, and here as numbers only, however many they become.
"""

import heapq
from bisect import insort
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from blog.bus.delivery.budget import MAX_EVENTS, BatchBudget
from blog.bus.log.schema import LogEntry, SubscriptionPosition
from blog.core.backoff import Backoff

MAX_ATTEMPTS = 20
"""Attempts that an event gets before it is dead."""
BACKLOG = 2000
"""Events held in memory; the rest waits in the log."""
_BACKOFF = Backoff(0.2, 60.0)
_START = SubscriptionPosition(frozenset())


@dataclass(slots=True)
class _KeyQueue:
    """The events of one key that are not settled, the next one first."""

    entries: deque[LogEntry] = field(default_factory=deque)
    attempts: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """The part of a batch that one key has: consecutive events. `attempt` counts from 1."""

    key: str
    entries: tuple[LogEntry, ...]
    attempt: int


class Dispatch:
    """The state of one subscription, from the position that it had."""

    def __init__(self, position: SubscriptionPosition = _START) -> None:
        self.cursor = position.watermark
        self.size = 0
        self.retries = 0
        self._settled = set(position.settled)
        self._unsettled: deque[int] = deque()
        self._queues: dict[str, _KeyQueue] = {}
        self._sendable: deque[str] = deque()
        self._delayed: list[tuple[float, str]] = []
        self._dead = set(position.dead)
        # a key in here parks what comes, even if nothing is parked yet
        self._parked: dict[str, list[int]] = {key: [] for key in position.dead}
        self._parked |= {key: list(sequences) for key, sequences in position.parked.items()}
        self._unparking = dict.fromkeys(self._parked.keys() - self._dead)
        self._to_park: list[LogEntry] = []

    @property
    def watermark(self) -> int:
        """Everything up to here is settled or parked, or not for this subscription."""
        while self._unsettled and self._unsettled[0] in self._settled:
            self._settled.discard(self._unsettled.popleft())
        return self._unsettled[0] - 1 if self._unsettled else self.cursor

    @property
    def has_room(self) -> bool:
        """Return whether more of the log may be held."""
        return self.size + len(self._to_park) < BACKLOG

    @property
    def dead(self) -> frozenset[str]:
        """The keys that wait until an event is redriven or discarded."""
        return frozenset(self._dead)

    @property
    def parked(self) -> int:
        """How many events are parked, or about to be."""
        return sum(map(len, self._parked.values())) + len(self._to_park)

    def oldest(self) -> LogEntry | None:
        """Return the first event that is to be delivered. Looks at every key: too slow for each event."""
        heads = (queue.entries[0] for queue in self._queues.values())
        return min(heads, key=lambda entry: entry.sequence, default=None)

    def ingest(self, entries: Sequence[LogEntry], through: int) -> None:
        """Add what the log has after `cursor`, up to `through`."""
        self.cursor = through
        for entry in entries:
            if entry.sequence in self._settled:
                self._settled.discard(entry.sequence)
                continue
            self._unsettled.append(entry.sequence)
            if entry.key in self._parked:
                self._to_park.append(entry)
            else:
                self._enqueue(entry)

    def may_send(self, now: float) -> bool:
        """Return whether something may be sent at `now`."""
        while self._delayed and self._delayed[0][0] <= now:
            self._sendable.append(heapq.heappop(self._delayed)[1])
        return bool(self._sendable)

    def next_batch(
        self, now: float, size: int = MAX_EVENTS, types: Collection[str] | None = None
    ) -> tuple[KeyBatch, ...]:
        """Return up to `size` events to send together at `now`, by key; none if none may be sent.

        First attempts of several keys. A retry is sent alone, so that it is known which event fails.
        With `types`, only events of these are sent; events after another one in their key wait.
        """
        batch: list[KeyBatch] = []
        passed_over: list[str] = []
        budget = BatchBudget(size, types)
        while self.may_send(now) and not (batch and self._is_retry(self._sendable[0])):
            queue = self._queues[self._sendable[0]]
            if not budget.allows(queue.entries[0]):
                passed_over.append(self._sendable.popleft())
                continue
            if not budget.has_room(queue.entries[0]):
                break
            key_batch = self._next_key_batch(self._sendable.popleft(), budget)
            batch.append(key_batch)
            if key_batch.attempt > 1:
                break
        self._sendable.extendleft(reversed(passed_over))
        return tuple(batch)

    def _is_retry(self, key: str) -> bool:
        return self._queues[key].attempts > 0

    def _next_key_batch(self, key: str, budget: BatchBudget) -> KeyBatch:
        """Return events of a key, in flight until `settle`, `retry`, `postpone` or `release`."""
        queue = self._queues[key]
        entries = tuple(takewhile(budget.try_add, islice(queue.entries, 1 if queue.attempts else None)))
        queue.in_flight = len(entries)
        return KeyBatch(key, entries, queue.attempts + 1)

    def next_due(self) -> float | None:
        """Return when the first of the retries may be sent."""
        return self._delayed[0][0] if self._delayed else None

    def release(self, batch: KeyBatch) -> None:
        """Let the events be sent again at once: no instance got them, so it was not an attempt."""
        self._queues[batch.key].in_flight = 0
        self._sendable.append(batch.key)

    def postpone(self, batch: KeyBatch, due: float) -> None:
        """Let the events be sent again at `due`: their outcome could not be recorded. Nothing failed."""
        self._queues[batch.key].in_flight = 0
        heapq.heappush(self._delayed, (due, batch.key))

    def watermark_after(self, entries: Sequence[LogEntry]) -> int:
        """Return the watermark as it will be once `entries` are settled or parked."""
        done = {entry.sequence for entry in entries}
        unsettled = (s for s in self._unsettled if s not in done and s not in self._settled)
        return next((sequence - 1 for sequence in unsettled), self.cursor)

    def settle(self, batch: KeyBatch, count: int, *, is_dead: bool = False) -> None:
        """Drop the first `count` events of `batch`: they are settled on disk.

        `is_dead`: the last of them is dead, so what comes after it in its key is to be parked.
        """
        queue = self._queues[batch.key]
        self._drop(queue, count)
        queue.in_flight = 0
        if is_dead:
            self._dead.add(batch.key)
            self._parked.setdefault(batch.key, [])
            self._unparking.pop(batch.key, None)
            self._to_park += queue.entries
            self.size -= len(queue.entries)
            queue.entries.clear()
        if queue.entries:
            self._sendable.append(batch.key)
        else:
            del self._queues[batch.key]

    def retry(
        self, batch: KeyBatch, now: float, jitter: float, after: float | None = None, *, settled: int = 0
    ) -> None:
        """Try again later: the first `settled` events of `batch` are settled, the next one failed.

        `jitter` is in [0, 1); the delay is at least `after` seconds.
        """
        queue = self._queues[batch.key]
        self._drop(queue, settled)
        queue.in_flight = 0
        queue.attempts += 1
        self.retries += 1
        delay = _BACKOFF.equal_jitter(queue.attempts, lambda: jitter)
        heapq.heappush(self._delayed, (now + max(delay, after or 0.0), batch.key))

    def _drop(self, queue: _KeyQueue, count: int) -> None:
        """Drop the first `count` events of `queue`: no attempt was about the next one yet."""
        if count:
            self._settle([queue.entries.popleft() for _ in range(count)])
            self.size -= count
            queue.attempts = 0

    # -- parking ------------------------------------------------------------------------------------

    def to_park(self) -> list[LogEntry]:
        """Return the events after dead ones: to be written as parked, then given to `park`."""
        return list(self._to_park)

    def park(self, entries: Sequence[LogEntry]) -> None:
        """Record that these are parked on disk: only their numbers are held."""
        del self._to_park[: len(entries)]
        for entry in entries:
            insort(self._parked[entry.key], entry.sequence)
        self._settle(entries)

    def redrive(self, key: str, sequence: int) -> None:
        """Go on with a key from its dead event `sequence`, which is delivered again."""
        self.discard(key)
        insort(self._parked[key], sequence)

    def discard(self, key: str) -> None:
        """Go on with a key whose dead event was given up for good."""
        self._dead.discard(key)
        self._unparking[key] = None

    def to_unpark(self) -> list[int]:
        """Return the next parked events of a key that goes on, in order; none if there are none."""
        for key in tuple(self._unparking):
            if self._parked[key]:
                if key not in self._queues:
                    return self._parked[key][:MAX_EVENTS]
            elif not any(entry.key == key for entry in self._to_park):
                del self._parked[key], self._unparking[key]  # what comes from now on need not wait
        return []

    def unpark(self, entries: Sequence[LogEntry]) -> None:
        """Add the events that `to_unpark` returned."""
        for entry in entries:
            self._parked[entry.key].remove(entry.sequence)
            self._enqueue(entry)

    @property
    def in_flight(self) -> int:
        """How many events are in flight."""
        return sum(queue.in_flight for queue in self._queues.values())

    def _enqueue(self, entry: LogEntry) -> None:
        queue = self._queues.setdefault(entry.key, _KeyQueue())
        queue.entries.append(entry)
        self.size += 1
        if len(queue.entries) == 1:
            self._sendable.append(entry.key)

    def _settle(self, entries: Sequence[LogEntry]) -> None:
        """Let the watermark pass what is on disk."""
        watermark = self.watermark
        # the watermark has passed what was parked long ago
        self._settled.update(entry.sequence for entry in entries if entry.sequence > watermark)
        _ = self.watermark  # drops what is below it

    def __repr__(self) -> str:
        """Show the position and what is held."""
        return (
            f"<Dispatch at {self.watermark}: {self.size} held, {self.in_flight} in flight,"
            f" {self.parked} parked>"
        )


def is_exhausted(batch: KeyBatch) -> bool:
    """Return whether this was the last attempt that an event gets."""
    return batch.attempt >= MAX_ATTEMPTS
