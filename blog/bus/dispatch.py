"""What may go out now, for one subscription. Pure: no I/O, no clock, no randomness of its own.

One batch in flight per key, events of a key in order, keys in parallel. The position is a watermark
plus what is settled above it. Parking the later events of a dead one belongs here, in `settle`.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from blog.bus.schema import Entry, Settled

MAX_BATCH = 100
MAX_ATTEMPTS = 20
BACKLOG = 2000
"""Events held in memory; the rest waits in the log."""
_FIRST_DELAY, _MAX_DELAY = 0.2, 60.0
FIRST_WINDOW, MAX_WINDOW = 2, 16


@dataclass(slots=True)
class _Queue:
    """The events of one key that are not settled, the next one first."""

    entries: deque[Entry] = field(default_factory=deque)
    attempts: int = 0
    due: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events of one key; `attempt` counts from 1."""

    key: str
    entries: tuple[Entry, ...]
    attempt: int


class Dispatch:
    """The state of one subscription."""

    def __init__(self, watermark: int = 0, settled: frozenset[int] = frozenset()) -> None:
        self.cursor = watermark
        self.size = 0
        self.retries = 0
        self._settled = set(settled)
        self._open: deque[int] = deque()
        self._queues: dict[str, _Queue] = {}
        self._free: deque[str] = deque()
        self._waiting: list[tuple[float, str]] = []

    @property
    def watermark(self) -> int:
        """Everything up to here is settled, or not for this subscription."""
        while self._open and self._open[0] in self._settled:
            self._settled.discard(self._open.popleft())
        return self._open[0] - 1 if self._open else self.cursor

    @property
    def wants_more(self) -> bool:
        """Tell whether there is room for more of the log."""
        return self.size < BACKLOG

    def load(self, entries: Sequence[Entry], through: int) -> None:
        """Take what the log has after `cursor`, up to `through`."""
        self.cursor = through
        for entry in entries:
            if entry.sequence in self._settled:
                self._settled.discard(entry.sequence)
                continue
            self._open.append(entry.sequence)
            self.size += 1
            queue = self._queues.setdefault(entry.key, _Queue())
            queue.entries.append(entry)
            if len(queue.entries) == 1:
                self._free.append(entry.key)

    def next_batch(self, now: float) -> Batch | None:
        """Return what may go out at `now`, the key that waited longest first; None if nothing may.

        It counts as in flight until `settle`, `retry` or `put_back`.
        """
        while self._waiting and self._waiting[0][0] <= now:
            self._free.append(heapq.heappop(self._waiting)[1])
        if not self._free:
            return None
        key = self._free.popleft()
        queue = self._queues[key]
        entries = tuple(queue.entries)[:MAX_BATCH]
        queue.in_flight = len(entries)
        return Batch(key, entries, queue.attempts + 1)

    def next_due(self) -> float | None:
        """Return when something that waits for its next try may go out."""
        return self._waiting[0][0] if self._waiting else None

    def put_back(self, batch: Batch) -> None:
        """Undo `next_batch`: it was not an attempt (no instance, refused)."""
        self._queues[batch.key].in_flight = 0
        self._free.append(batch.key)

    def settled_with(self, batch: Batch, count: int) -> int:
        """Return the watermark as it will be once the first `count` of `batch` are settled."""
        done = {entry.sequence for entry in batch.entries[:count]} | self._settled
        return next((s - 1 for s in self._open if s not in done), self.cursor)

    def settle(self, batch: Batch, count: int) -> None:
        """Forget the first `count` events of `batch`: they are settled on disk."""
        queue = self._queues[batch.key]
        for entry in batch.entries[:count]:
            queue.entries.popleft()
            self._settled.add(entry.sequence)
        self.size -= count
        queue.in_flight = 0
        queue.attempts = 0
        if queue.entries:
            self._free.append(batch.key)
        else:
            del self._queues[batch.key]
        _ = self.watermark  # forget what is below it

    def retry(self, batch: Batch, now: float, jitter: float, after: float | None = None) -> None:
        """Try again later: the first event of `batch` did not work. `jitter` is in [0, 1)."""
        queue = self._queues[batch.key]
        queue.in_flight = 0
        queue.attempts += 1
        self.retries += 1
        due = now + max(retry_delay(queue.attempts, jitter), after or 0.0)
        heapq.heappush(self._waiting, (due, batch.key))

    def is_exhausted(self, batch: Batch) -> bool:
        """Tell whether this was the last attempt that an event gets."""
        return batch.attempt >= MAX_ATTEMPTS

    @property
    def in_flight(self) -> int:
        """How many events are out."""
        return sum(queue.in_flight for queue in self._queues.values())

    def __repr__(self) -> str:
        """Show the position and what is held."""
        return f"<Dispatch at {self.watermark}: {self.size} held, {self.in_flight} in flight>"


class Window:
    """How many batches one instance gets at a time: grows with success, halves when it is too much."""

    def __init__(self) -> None:
        self.size = FIRST_WINDOW
        self.in_flight = 0

    def has_room(self) -> bool:
        """Tell whether another batch may go there."""
        return self.in_flight < self.size

    def grow(self) -> None:
        """Note that it worked."""
        self.size = min(MAX_WINDOW, self.size + 1)

    def halve(self) -> None:
        """Note that it was too much (429, 503, timeout)."""
        self.size = max(1, self.size // 2)


def retry_delay(attempts: int, jitter: float) -> float:
    """Return the seconds before the next try: 0.2 s x 2^n up to 60 s, equal jitter.

    Half of it is fixed, half is drawn: `jitter` in [0, 1). Source: "Exponential Backoff And Jitter"
    (AWS Architecture Blog, 2015).
    """
    full = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** (attempts - 1))
    return full / 2 + full / 2 * jitter


def dead(entry: Entry, attempts: int, reason: str) -> Settled:
    """Say that an event never worked."""
    return Settled(entry.sequence, entry.key, attempts, reason or "no reason given")


def done(entry: Entry, attempts: int) -> Settled:
    """Say that an event worked."""
    return Settled(entry.sequence, entry.key, attempts)
