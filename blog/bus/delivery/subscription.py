"""Subscription: one subscription at work, between the log and the dispatcher. It asks no instance.

What changes in memory is on disk first, but for acknowledgements from which nothing follows: they may
wait a little, and are delivered again after a crash.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from blog.bus.delivery.dispatch import Dispatch, KeyBatch
from blog.bus.delivery.outcome import DeliveryFailure, judge, split
from blog.bus.log.log import EventLog
from blog.bus.log.schema import SettledEvent, SettledState, SubscriptionPosition
from blog.core.clock import Clock
from blog.core.errors import BlogError
from blog.core.logs import get_logger
from blog.core.reactions import Result

FLUSH_AFTER = 0.05
"""Seconds that an acknowledgement may wait to be written down, if nothing follows from it."""
FLUSH_AT = 200
"""How many of them may wait."""
AGAIN_AFTER = 1.0
"""Seconds after which what the log could not take is given to it again."""
_PAGE = 500

log = get_logger()


class Subscription:
    """One subscription at work. `wake` is set when something may have changed for it."""

    def __init__(
        self, name: str, position: SubscriptionPosition, journal: EventLog, clock: Clock
    ) -> None:
        self.name = name
        self.types = set(position.types)
        self.dispatch = Dispatch(position)
        self.is_paused = position.is_paused
        self.wake = asyncio.Event()
        self.attempts: Counter[str] = Counter()
        """What came of batches: done (or a part), dead, retry, not_sent, not_put_down, superseded."""
        self._log = journal
        self._clock = clock
        self._late: list[SettledEvent] = []
        self._flush_due: float | None = None

    def row(self) -> dict[str, Any]:
        """Describe it: lag, in flight and parked in events, retries since the start.

        `waiting` is how many are to be delivered: unlike `lag`, it does not grow behind one that fails.
        `dead` is how many keys wait behind an event that never worked, `oldest` the sequence of the
        first event that is to be delivered, `since` its time.
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
            "since": json.loads(oldest.envelope)["time"] if oldest else None,
            "in_flight": dispatch.in_flight,
            "retries": dispatch.retries,
            "dead": len(dispatch.dead),
            "parked": dispatch.parked,
            "paused": self.is_paused,
        }

    # -- between log and memory ----------------------------------------------------------------------

    async def refill(self) -> None:
        """Take in what the log has, park what is to be parked, take up what is parked no more."""
        if self._flush_due is not None and self._clock.monotonic() >= self._flush_due:
            await self.flush()
        dispatch = self.dispatch
        await self._park()
        while dispatch.wants_more and dispatch.cursor < self._log.head:
            dispatch.load(*await self._log.read(dispatch.cursor, _PAGE, self.types))
            await self._park()
        while dispatch.wants_more and (sequences := dispatch.to_unpark()):
            dispatch.unpark(await self._log.get_all(sequences))

    async def _park(self) -> None:
        """Put what came behind a dead event on disk, so that the position may pass it."""
        dispatch = self.dispatch
        entries = dispatch.to_park()
        if not entries:
            return
        parked = [SettledEvent(entry.sequence, entry.key, 0, SettledState.PARKED) for entry in entries]
        try:
            await self._log.settle(self.name, parked, [], dispatch.settled_with(entries))
        except BlogError as error:
            log.warning("delivery.not_parked", subscription=self.name, why=error.detail)
            self._flush_due = self._flush_due or self._clock.monotonic() + AGAIN_AFTER
            return
        dispatch.park(entries)

    async def wait(self) -> None:
        """Wait until something may have changed, the next try is due, or something is to be flushed."""
        # while it is paused, what was due long ago is no reason to look again
        next_due = None if self.is_paused else self.dispatch.next_due()
        times = [due for due in (next_due, self._flush_due) if due is not None]
        try:
            async with asyncio.timeout(min(times) - self._clock.monotonic() if times else None):
                await self.wake.wait()
        except TimeoutError:
            return

    # -- what came of it -----------------------------------------------------------------------------

    async def put_down(
        self, load: Sequence[KeyBatch], outcome: Sequence[Result] | DeliveryFailure
    ) -> None:
        """Settle what worked or never will, in order, up to what is to be tried again."""
        dispatch = self.dispatch
        judged = [(batch, *judge(batch, part)) for batch, part in split(load, outcome)]
        settled = [one for _, mine, _, _ in judged for one in mine]
        following = [event for _, _, follows, _ in judged for event in follows]
        if following or any(one.state is not SettledState.DONE for one in settled):
            entries = [entry for batch, mine, _, _ in judged for entry in batch.entries[: len(mine)]]
            try:
                await self._log.settle(self.name, settled, following, dispatch.settled_with(entries))
            except BlogError as error:
                self._postpone(dispatch, load, error)
                return
        elif settled:
            self._late += settled
            self._flush_due = self._flush_due or self._clock.monotonic() + FLUSH_AFTER
        for batch, mine, _, again in judged:
            self._note(dispatch, batch, mine, again)
        if len(self._late) >= FLUSH_AT:
            await self.flush()

    def _postpone(self, dispatch: Dispatch, load: Sequence[KeyBatch], error: BlogError) -> None:
        """Let a load come again because what came of it could not be put down; nobody has failed."""
        log.warning("delivery.not_put_down", subscription=self.name, why=error.detail)
        self.attempts["not_put_down"] += len(load)
        for batch in load:
            dispatch.postpone(batch, self._clock.monotonic() + AGAIN_AFTER)

    def _note(
        self,
        dispatch: Dispatch,
        batch: KeyBatch,
        settled: Sequence[SettledEvent],
        again: DeliveryFailure | None,
    ) -> None:
        """Let the dispatcher know what is settled, and what is to be tried again."""
        if settled:
            self.attempts[settled[-1].state.value] += 1
        if again is not None:
            self.attempts["retry"] += 1
            log.info("delivery.failed", subscription=self.name, key=batch.key, why=again.reason)
            now, jitter = self._clock.monotonic(), random.random()  # noqa: S311 - no secret
            dispatch.retry(batch, now, jitter, again.retry_after, behind=len(settled))
            return
        last = settled[-1]
        is_dead = last.state is SettledState.DEAD
        dispatch.settle(batch, len(settled), is_dead=is_dead)
        if is_dead:
            log.error("event.dead", subscription=self.name, sequence=last.sequence, why=last.reason)

    async def flush(self) -> None:
        """Write down the acknowledgements that were put off, and how far the position is."""
        late, self._late, self._flush_due = self._late, [], None
        if not late:
            return
        dispatch = self.dispatch
        try:
            await self._log.settle(self.name, late, [], dispatch.watermark)
        except BlogError as error:
            log.warning("delivery.not_flushed", subscription=self.name, why=error.detail)
            if dispatch is self.dispatch:  # a replay takes them back
                self._late = late + self._late
                self._flush_due = self._clock.monotonic() + AGAIN_AFTER

    # -- what operators want -------------------------------------------------------------------------

    async def revive(self, sequence: int, *, again: bool) -> None:
        """Go on with the key of a dead event: try it `again`, or leave it. Raises NotFound."""
        dispatch = self.dispatch
        await self._log.revive(self.name, sequence, again=again)
        if dispatch is self.dispatch:
            [entry] = await self._log.get_all([sequence])
            dispatch.revive(entry.key, sequence if again else None)
        self.wake.set()

    async def pause(self, *, is_paused: bool) -> None:
        """Stop, or go on, with delivering."""
        await self._log.pause(self.name, is_paused=is_paused)
        self.is_paused = is_paused
        self.wake.set()

    async def replay(self, after: int) -> None:
        """Deliver everything behind `after` again; answers to what is under way now are dropped."""
        after = min(after, self._log.head)
        self.dispatch = Dispatch(SubscriptionPosition(frozenset(self.types), after))
        self._late, self._flush_due = [], None
        try:
            await self._log.replay(self.name, after)
        except BlogError:
            # nothing was taken back: on from what is on disk, as after a restart
            self.dispatch = Dispatch((await self._log.positions())[self.name])
            raise
        finally:
            self.wake.set()

    def __repr__(self) -> str:
        """Show the name and the position."""
        return f"<Subscription {self.name}: {self.dispatch!r}, {len(self._late)} to flush>"
