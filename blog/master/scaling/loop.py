"""Scaling loop: every second it reads the signals, lets the scaler decide, and scales the reconciler."""

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
    """Connects signals, scaler and reconciler. The reconciler is scaled once already when it is made."""

    def __init__(
        self,
        reconciler: Reconciler,
        scaler: Scaler,
        signals: LoadSignals,
        file: SpecFileWatch,
        clock: Clock,
    ) -> None:
        self.scaler = scaler
        self.signals = signals
        self.file = file
        self._reconciler = reconciler
        self._clock = clock
        scaler.adopt(Counter(replica.service for replica in reconciler.replicas))
        self.decide()

    def set_manual(self, counts: Mapping[str, int | None]) -> dict[str, int]:
        """Set numbers by hand (see `Scaler.set_manual`); return the desired replicas of the same."""
        self.scaler.set_manual(counts)
        self.decide()
        return {name: self.scaler.desired[name].replicas for name in counts}

    def decide(self) -> None:
        """Decide by what is known now, and scale the reconciler."""
        counts = self.scaler.decide(self.signals.load, self._clock.now(), self._clock.monotonic())
        self._reconciler.scale(counts)

    def upcoming(self, count: int) -> list[dict[str, Any]]:
        """List the next `count` changes of each schedule, in order, as rows."""
        return rows_of(self.scaler.upcoming(self._clock.now(), count))

    async def run(self) -> None:
        """Run for ever."""
        while True:
            await self.signals.refresh()
            specs = self.file.poll()
            if specs is not None:
                self.scaler.update(specs)
            self.decide()
            await asyncio.sleep(INTERVAL)


def rows_of(changes: Iterable[UpcomingChange]) -> list[dict[str, Any]]:
    """Return rows of `blog schedule --json`; `held` is the manual number that prevents a change."""
    return [
        {
            "time": one.change.time.isoformat(),
            "service": one.service,
            "replicas": one.change.entry.replicas,
            "at": one.change.entry.at,
            "timezone": str(one.change.time.tzinfo),
            "held": one.held,
        }
        for one in changes
    ]
