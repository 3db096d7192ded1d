"""What may go out now, for one subscription. Pure: no I/O, no clock, no randomness of its own.

One batch in flight per key, events of a key in order, keys in parallel: several travel in one load.
The position is a watermark plus what is settled above it. Behind a dead event the later ones of its
key are parked: on disk, and here as numbers only, however many they become.
"""

import heapq
from bisect import insort
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from blog.bus.delivery.budget import MAX_BATCH, BatchBudget
from blog.bus.log.schema import LogEntry, SubscriptionPosition

MAX_ATTEMPTS = 20
BACKLOG = 2000
"""Events held in memory; the rest waits in the log."""
_FIRST_DELAY, _MAX_DELAY = 0.2, 60.0
_START = SubscriptionPosition(frozenset())


@dataclass(slots=True)
class _KeyQueue:
    """The events of one key that are not settled, the next one first."""

    entries: deque[LogEntry] = field(default_factory=deque)
    attempts: int = 0
    due: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """Consecutive events of one key; `attempt` counts from 1."""

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
        self._open: deque[int] = deque()
        self._queues: dict[str, _KeyQueue] = {}
        self._free: deque[str] = deque()
        self._waiting: list[tuple[float, str]] = []
        self._dead = set(position.dead)
        # who is in here parks what comes, even where nothing is parked yet
        self._parked: dict[str, list[int]] = {key: [] for key in position.dead}
        self._parked |= {key: list(sequences) for key, sequences in position.parked.items()}
        self._reviving = dict.fromkeys(self._parked.keys() - self._dead)
        self._to_park: list[LogEntry] = []

    @property
    def watermark(self) -> int:
        """Everything up to here is settled or parked, or not for this subscription."""
        while self._open and self._open[0] in self._settled:
            self._settled.discard(self._open.popleft())
        return self._open[0] - 1 if self._open else self.cursor

    @property
    def wants_more(self) -> bool:
        """Tell whether there is room for more of the log."""
        return self.size + len(self._to_park) < BACKLOG

    @property
    def dead(self) -> frozenset[str]:
        """The keys that wait for an event to be redriven or discarded."""
        return frozenset(self._dead)

    @property
    def parked(self) -> int:
        """How many events wait behind a dead one."""
        return sum(map(len, self._parked.values())) + len(self._to_park)

    def oldest(self) -> LogEntry | None:
        """Return the first event that is to be delivered. It looks at every key: not for each event."""
        heads = (queue.entries[0] for queue in self._queues.values())
        return min(heads, key=lambda entry: entry.sequence, default=None)

    def load(self, entries: Sequence[LogEntry], through: int) -> None:
        """Take what the log has after `cursor`, up to `through`."""
        self.cursor = through
        for entry in entries:
            if entry.sequence in self._settled:
                self._settled.discard(entry.sequence)
                continue
            self._open.append(entry.sequence)
            if entry.key in self._parked:
                self._to_park.append(entry)
            else:
                self._enqueue(entry)

    def may_send(self, now: float) -> bool:
        """Tell whether something may go out at `now`."""
        while self._waiting and self._waiting[0][0] <= now:
            self._free.append(heapq.heappop(self._waiting)[1])
        return bool(self._free)

    def next_load(
        self, now: float, room: int = MAX_BATCH, types: Collection[str] | None = None
    ) -> tuple[KeyBatch, ...]:
        """Return what may travel together at `now`, up to `room` events; nothing if nothing may.

        First tries of several keys. What is tried again goes alone, so that it is known what fails.
        With `types`, only events of these go, and what is behind another one in its key waits.
        """
        load: list[KeyBatch] = []
        others: list[str] = []
        space = BatchBudget(room, types)
        while self.may_send(now) and not (load and self._is_retry(self._free[0])):
            queue = self._queues[self._free[0]]
            if not space.wants(queue.entries[0]):
                others.append(self._free.popleft())
                continue
            if not space.takes(queue.entries[0]):
                break
            batch = self._next_batch(self._free.popleft(), space)
            load.append(batch)
            if batch.attempt > 1:
                break
        self._free.extendleft(reversed(others))
        return tuple(load)

    def _is_retry(self, key: str) -> bool:
        return self._queues[key].attempts > 0

    def _next_batch(self, key: str, room: BatchBudget) -> KeyBatch:
        """Take events of a key: in flight until `settle`, `retry`, `postpone` or `put_back`."""
        queue = self._queues[key]
        entries = tuple(takewhile(room.put, islice(queue.entries, 1 if queue.attempts else None)))
        queue.in_flight = len(entries)
        return KeyBatch(key, entries, queue.attempts + 1)

    def next_due(self) -> float | None:
        """Return when something that waits for its next try may go out."""
        return self._waiting[0][0] if self._waiting else None

    def put_back(self, batch: KeyBatch) -> None:
        """Undo `next_load`: it was not an attempt (no instance, refused)."""
        self._queues[batch.key].in_flight = 0
        self._free.append(batch.key)

    def postpone(self, batch: KeyBatch, due: float) -> None:
        """Undo `next_load` until `due`: what came of it could not be put down. Nobody failed."""
        self._queues[batch.key].in_flight = 0
        heapq.heappush(self._waiting, (due, batch.key))

    def settled_with(self, entries: Sequence[LogEntry]) -> int:
        """Return the watermark as it will be once `entries` are settled or parked."""
        done = {entry.sequence for entry in entries}
        still_open = (s for s in self._open if s not in done and s not in self._settled)
        return next((sequence - 1 for sequence in still_open), self.cursor)

    def settle(self, batch: KeyBatch, count: int, *, is_dead: bool = False) -> None:
        """Forget the first `count` events of `batch`: they are settled on disk.

        `is_dead`: the last of them never worked, so that whatever comes after it is to be parked.
        """
        queue = self._queues[batch.key]
        self._pass(queue, count)
        queue.in_flight = 0
        if is_dead:
            self._dead.add(batch.key)
            self._parked.setdefault(batch.key, [])
            self._reviving.pop(batch.key, None)
            self._to_park += queue.entries
            self.size -= len(queue.entries)
            queue.entries.clear()
        if queue.entries:
            self._free.append(batch.key)
        else:
            del self._queues[batch.key]

    def retry(
        self, batch: KeyBatch, now: float, jitter: float, after: float | None = None, *, behind: int = 0
    ) -> None:
        """Try again later: the event of `batch` behind the first `behind`, settled ones, did not work.

        `jitter` is in [0, 1).
        """
        queue = self._queues[batch.key]
        self._pass(queue, behind)
        queue.in_flight = 0
        queue.attempts += 1
        self.retries += 1
        due = now + max(retry_delay(queue.attempts, jitter), after or 0.0)
        heapq.heappush(self._waiting, (due, batch.key))

    def _pass(self, queue: _KeyQueue, count: int) -> None:
        """Forget the first `count` events of `queue`: the next one was not tried for its own sake."""
        if count:
            self._forget([queue.entries.popleft() for _ in range(count)])
            self.size -= count
            queue.attempts = 0

    # -- parking ------------------------------------------------------------------------------------

    def to_park(self) -> list[LogEntry]:
        """Return what came behind a dead event: it goes to disk as parked, then to `park`."""
        return list(self._to_park)

    def park(self, entries: Sequence[LogEntry]) -> None:
        """Note that these are parked on disk: they are held as numbers only."""
        del self._to_park[: len(entries)]
        for entry in entries:
            insort(self._parked[entry.key], entry.sequence)
        self._forget(entries)

    def revive(self, key: str, sequence: int | None = None) -> None:
        """Go on with a key whose dead event was discarded, or comes again as `sequence`."""
        self._dead.discard(key)
        self._reviving[key] = None
        if sequence is not None:
            insort(self._parked[key], sequence)

    def to_unpark(self) -> list[int]:
        """Return parked events whose turn has come, of one key and in order; none if there are none."""
        for key in tuple(self._reviving):
            if self._parked[key]:
                if key not in self._queues:
                    return self._parked[key][:MAX_BATCH]
            elif not any(entry.key == key for entry in self._to_park):
                del self._parked[key], self._reviving[key]  # what comes from now on need not wait
        return []

    def unpark(self, entries: Sequence[LogEntry]) -> None:
        """Take in what `to_unpark` said."""
        for entry in entries:
            self._parked[entry.key].remove(entry.sequence)
            self._enqueue(entry)

    @property
    def in_flight(self) -> int:
        """How many events are out."""
        return sum(queue.in_flight for queue in self._queues.values())

    def _enqueue(self, entry: LogEntry) -> None:
        queue = self._queues.setdefault(entry.key, _KeyQueue())
        queue.entries.append(entry)
        self.size += 1
        if len(queue.entries) == 1:
            self._free.append(entry.key)

    def _forget(self, entries: Sequence[LogEntry]) -> None:
        """Let the watermark pass over what is on disk."""
        below = self.watermark
        # what was parked has been passed long ago
        self._settled.update(entry.sequence for entry in entries if entry.sequence > below)
        _ = self.watermark  # forget what is below it

    def __repr__(self) -> str:
        """Show the position and what is held."""
        return (
            f"<Dispatch at {self.watermark}: {self.size} held, {self.in_flight} in flight,"
            f" {self.parked} parked>"
        )


def retry_delay(attempts: int, jitter: float) -> float:
    """Return the seconds before the next try: 0.2 s x 2^n up to 60 s, equal jitter.

    Half of it is fixed, half is drawn: `jitter` in [0, 1). Source: "Exponential Backoff And Jitter"
    (AWS Architecture Blog, 2015).
    """
    full = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** (attempts - 1))
    return full / 2 + full / 2 * jitter


def is_exhausted(batch: KeyBatch) -> bool:
    """Tell whether this was the last attempt that an event gets."""
    return batch.attempt >= MAX_ATTEMPTS
