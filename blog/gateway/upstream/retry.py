"""Retry: whether a request may be sent again, and how many may be. Pure.

What was never sent may always go to the next instance; what was sent only if doing it twice is the
same as doing it once, and while the budget lasts, so that retries never make an outage worse.
"""

SHARE = 0.2
PER_SECOND = 10.0
CAPACITY = 100.0
"""Retries that may be saved up: those of ten quiet seconds."""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


def is_retryable(method: bytes, *, has_key: bool) -> bool:
    """Return whether a request may be sent again although it may have been processed.

    `has_key`: it has an Idempotency-Key.
    """
    return has_key or method in IDEMPOTENT


class RetryBudget:
    """A share of all requests, plus a few per second. `now` is monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._tokens = CAPACITY
        self._refilled_at = now
        self.requests = 0
        """Requests since the last refill: each earns its share of a retry."""

    def try_spend(self, now: float) -> bool:
        """Spend one retry; return False when there is none left."""
        earned = self.requests * SHARE + (now - self._refilled_at) * PER_SECOND
        self._tokens = min(CAPACITY, self._tokens + earned)
        self.requests = 0
        self._refilled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def __repr__(self) -> str:
        """Show how many retries are left."""
        return f"<RetryBudget: {self._tokens:.1f}>"
