"""Subscription: keeps the log and the dispatch of one subscription in step. It calls no instance.

A change is on disk before it is in memory, but for acknowledgements from which nothing follows: they may
wait a little, and such events are delivered again after a crash.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from blog.bus.delivery.dispatch import Dispatch, KeyBatch
from blog.bus.delivery.outcome import DeliveryOutcome, KeyOutcome, evaluate
from blog.bus.log.log import EventLog
from blog.bus.log.schema import LogEntry, SettledEvent, SettledState, SubscriptionPosition
from blog.core.clock import Clock
from blog.core.errors import BlogError
from blog.core.logs import get_logger
from blog.core.net.http_client import parse_json

FLUSH_AFTER = 0.05
"""Seconds that an acknowledgement may wait to be written, if nothing follows from it."""
FLUSH_AT = 200
"""How many of them may wait."""
RETRY_AFTER = 1.0
"""Seconds after which what the log could not write is tried again."""
_PAGE = 500

log = get_logger()


class Subscription:
    """One running subscription. `wake` is set when something may have changed for it."""

    def __init__(
        self, name: str, position: SubscriptionPosition, event_log: EventLog, clock: Clock
    ) -> None:
        self.name = name
        self.types = set(position.types)
        self.dispatch = Dispatch(position)
        self.is_paused = position.is_paused
        self.wake = asyncio.Event()
        self.attempts: Counter[str] = Counter()
        """Outcomes, by key: done (or a part), dead, retry, not_sent, not_recorded, superseded."""
        self._log = event_log
        self._clock = clock
        self._unflushed: list[SettledEvent] = []
        self._flush_due: float | None = None

    def describe(self) -> dict[str, Any]:
        """Return its state as JSON: lag, in flight and parked in events, retries since the start.

        `waiting` is how many are to be delivered: unlike `lag`, it does not grow after one that fails.
        `dead` is how many keys wait because of a dead event, `oldest` the sequence of the first event
        that is to be delivered, `since` its time.
        """
        dispatch = self.dispatch
        oldest = dispatch.oldest()
        return {
            "name": self.name,
            "types": sorted(self.types),
            "watermark": dispatch.watermark,
            "lag": self._log.head - dispatch.watermark,
            "waiting": dispatch.size + self._log.head - dispatch.cursor,
            "oldest": oldest.sequence if oldest else None,
            "since": _time_of(oldest) if oldest else None,
            "in_flight": dispatch.in_flight,
            "retries": dispatch.retries,
            "dead": len(dispatch.dead),
            "parked": dispatch.parked,
            "paused": self.is_paused,
        }

    # -- between log and memory ----------------------------------------------------------------------

    async def refill(self) -> None:
        """Ingest what the log has, park what is to be parked, unpark what is to be unparked."""
        if self._flush_due is not None and self._clock.monotonic() >= self._flush_due:
            await self.flush()
        dispatch = self.dispatch
        await self._park()
        while dispatch.has_room and dispatch.cursor < self._log.head:
            dispatch.ingest(*await self._log.read(dispatch.cursor, _PAGE, self.types))
            await self._park()
        while dispatch.has_room and (sequences := dispatch.to_unpark()):
            dispatch.unpark(await self._log.get_all(sequences))

    async def _park(self) -> None:
        """Write what is to be parked, so that the watermark may pass it."""
        dispatch = self.dispatch
        entries = dispatch.to_park()
        if not entries:
            return
        parked = [SettledEvent(entry.sequence, entry.key, 0, SettledState.PARKED) for entry in entries]
        try:
            await self._log.settle(self.name, parked, [], dispatch.watermark_after(entries))
        except BlogError as error:
            log.warning("delivery.not_parked", subscription=self.name, reason=error.detail)
            self._flush_due = self._flush_due or self._clock.monotonic() + RETRY_AFTER
            return
        dispatch.park(entries)

    async def wait(self) -> None:
        """Wait until something may have changed, the next retry is due, or something is to be flushed."""
        # while it is paused, a retry that was due long ago is no reason to wake up
        next_due = None if self.is_paused else self.dispatch.next_due()
        times = [due for due in (next_due, self._flush_due) if due is not None]
        try:
            async with asyncio.timeout(min(times) - self._clock.monotonic() if times else None):
                await self.wake.wait()
        except TimeoutError:
            return

    # -- outcomes ------------------------------------------------------------------------------------

    async def record_outcome(self, batch: Sequence[KeyBatch], outcome: DeliveryOutcome) -> None:
        """Settle what worked or never will, in order, up to what is to be tried again."""
        dispatch = self.dispatch
        outcomes = evaluate(batch, outcome)
        settled = [event for each in outcomes for event in each.settled]
        following = [envelope for each in outcomes for envelope in each.following]
        if following or any(event.state is not SettledState.DONE for event in settled):
            entries = [entry for each in outcomes for entry in each.batch.entries[: len(each.settled)]]
            try:
                await self._log.settle(self.name, settled, following, dispatch.watermark_after(entries))
            except BlogError as error:
                self._postpone(dispatch, batch, error)
                return
        elif settled:
            self._unflushed += settled
            self._flush_due = self._flush_due or self._clock.monotonic() + FLUSH_AFTER
        for each in outcomes:
            self._apply(dispatch, each)
        if len(self._unflushed) >= FLUSH_AT:
            await self.flush()

    def _postpone(self, dispatch: Dispatch, batch: Sequence[KeyBatch], error: BlogError) -> None:
        """Let a batch be sent again because its outcome could not be recorded; nothing has failed."""
        log.warning("delivery.not_recorded", subscription=self.name, reason=error.detail)
        self.attempts["not_recorded"] += len(batch)
        for key_batch in batch:
            dispatch.postpone(key_batch, self._clock.monotonic() + RETRY_AFTER)

    def _apply(self, dispatch: Dispatch, outcome: KeyOutcome) -> None:
        """Settle in memory what is settled, and schedule what is to be tried again."""
        batch, settled, _, failure = outcome
        if settled:
            self.attempts[settled[-1].state.value] += 1
        if failure is not None:
            self.attempts["retry"] += 1
            log.info("delivery.failed", subscription=self.name, key=batch.key, reason=failure.reason)
            now, jitter = self._clock.monotonic(), random.random()  # noqa: S311 - no secret
            dispatch.retry(batch, now, jitter, failure.retry_after, settled=len(settled))
            return
        last = settled[-1]
        is_dead = last.state is SettledState.DEAD
        dispatch.settle(batch, len(settled), is_dead=is_dead)
        if is_dead:
            log.error("event.dead", subscription=self.name, sequence=last.sequence, reason=last.reason)

    async def flush(self) -> None:
        """Write the acknowledgements that wait, and the watermark."""
        unflushed, self._unflushed, self._flush_due = self._unflushed, [], None
        if not unflushed:
            return
        dispatch = self.dispatch
        try:
            await self._log.settle(self.name, unflushed, [], dispatch.watermark)
        except BlogError as error:
            log.warning("delivery.not_flushed", subscription=self.name, reason=error.detail)
            if dispatch is self.dispatch:  # a replay drops them
                self._unflushed = unflushed + self._unflushed
                self._flush_due = self._clock.monotonic() + RETRY_AFTER

    # -- operators -----------------------------------------------------------------------------------

    async def redrive(self, sequence: int) -> None:
        """Deliver a dead event again, and go on with its key. Raises NotFound."""
        dispatch = self.dispatch
        await self._log.redrive(self.name, sequence)
        if dispatch is self.dispatch:
            dispatch.redrive(await self._key_of(sequence), sequence)
        self.wake.set()

    async def discard(self, sequence: int) -> None:
        """Give a dead event up for good, and go on with its key. Raises NotFound."""
        dispatch = self.dispatch
        await self._log.discard(self.name, sequence)
        if dispatch is self.dispatch:
            dispatch.discard(await self._key_of(sequence))
        self.wake.set()

    async def _key_of(self, sequence: int) -> str:
        [entry] = await self._log.get_all([sequence])
        return entry.key

    async def pause(self, *, is_paused: bool) -> None:
        """Pause the delivery, or resume it."""
        await self._log.pause(self.name, is_paused=is_paused)
        self.is_paused = is_paused
        self.wake.set()

    async def replay(self, after: int) -> None:
        """Deliver everything after `after` again; outcomes of batches that are in flight are dropped."""
        after = min(after, self._log.head)
        self.dispatch = Dispatch(SubscriptionPosition(frozenset(self.types), after))
        self._unflushed, self._flush_due = [], None
        try:
            await self._log.replay(self.name, after)
        except BlogError:
            # the log was not changed: go on from what is on disk, as after a restart
            self.dispatch = Dispatch((await self._log.positions())[self.name])
            raise
        finally:
            self.wake.set()

    def __repr__(self) -> str:
        """Show the name and the position."""
        return f"<Subscription {self.name}: {self.dispatch!r}, {len(self._unflushed)} to flush>"


def _time_of(entry: LogEntry) -> Any:
    """Return the time of an event; None if it cannot be read: its subscription is described without."""
    try:
        return parse_json(entry.envelope.encode())["time"]
    except (ValueError, LookupError, TypeError):
        return None
