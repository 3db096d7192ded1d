"""Time comes from one place. A `Clock` is made where a process is composed; tests own a fake one."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings, for different purposes."""

    def now(self) -> datetime:
        """Wall-clock time in UTC: what people and events see. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow: what timers and deadlines use."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)

    # called several times per request: no function of ours in between
    monotonic = staticmethod(time.monotonic)
