"""Fakes that several tests share, written once."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def monotonic(self) -> float:
        """Tell the seconds since the start of the test, plus what it began with."""
        return self._now

    def now(self) -> datetime:
        """Tell the same on a wall clock that began at 2026-01-01 in UTC."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._now)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds
