"""The control loop: every second it reads the signals, lets the scaler decide, and tells the master."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from blog.core.clock import Clock
from blog.master.replicas.reconciler import Reconciler
from blog.master.scaling.scaler import Scaler, UpcomingChange
from blog.master.scaling.signals import LoadSignals
from blog.master.scaling.spec_file import SpecFileWatch

INTERVAL = 1.0


class ScalingLoop:
    """Joins them. Once it is made, the master knows how many there should be."""

    def __init__(
        self, master: Reconciler, scaler: Scaler, signals: LoadSignals, file: SpecFileWatch, clock: Clock
    ) -> None:
        self.scaler = scaler
        self.signals = signals
        self.file = file
        self._master = master
        self._clock = clock
        scaler.adopt(Counter(copy.service for copy in master.copies))
        self.decide()

    def say(self, said: Mapping[str, int | None]) -> dict[str, int]:
        """Take a word by hand (see `Scaler.say`); return how many of each there will be of those."""
        self.scaler.say(said)
        self.decide()
        return {name: self.scaler.wanted[name].copies for name in said}

    def decide(self) -> None:
        """Decide by what is known now, and tell the master."""
        counts = self.scaler.decide(self.signals.load, self._clock.now(), self._clock.monotonic())
        self._master.scale(counts)

    def coming(self, count: int) -> list[dict[str, Any]]:
        """List the next `count` changes of each schedule, in order, as rows."""
        return rows_of(self.scaler.coming(self._clock.now(), count))

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await self.signals.read()
            policies = self.file.news()
            if policies is not None:
                self.scaler.follow(policies)
            self.decide()
            await asyncio.sleep(INTERVAL)


def rows_of(coming: Iterable[UpcomingChange]) -> list[dict[str, Any]]:
    """Return rows of a schedule as `blog schedule --json` has them; `held`: by hand, so many instead."""
    return [
        {
            "time": one.change.time.isoformat(),
            "service": one.service,
            "replicas": one.change.entry.replicas,
            "at": one.change.entry.at,
            "timezone": str(one.change.time.tzinfo),
            "held": one.held,
        }
        for one in coming
    ]
