"""May a request be sent again? Pure: by how far it got, its method, and a budget."""

from collections.abc import Mapping
from enum import Enum, auto

SHARE = 0.2
"""Retries per request that the budget grows by."""
FLOOR = 10.0
"""Retries per second that are always allowed."""
_FULL = 100.0
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Progress(Enum):
    """How far a failed try got."""

    NEVER_SENT = auto()
    SENT = auto()
    ANSWERING = auto()


def may_repeat(progress: Progress, method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether another instance may be asked (RFC 9110 §9.2.2: idempotent methods).

    What was never sent may go anywhere; what was sent only if repeating it changes nothing.
    """
    match progress:
        case Progress.NEVER_SENT:
            return True
        case Progress.SENT:
            return method in _REPEATABLE or "Idempotency-Key" in headers
        case Progress.ANSWERING:
            return False


class Budget:
    """Keeps retries from multiplying load when everything fails: 20 % of requests plus 10 a second."""

    def __init__(self) -> None:
        self._tokens = FLOOR
        self._filled = 0.0

    def request(self) -> None:
        """Count a request."""
        self._tokens = min(_FULL, self._tokens + SHARE)

    def take(self, now: float) -> bool:
        """Take one retry at `now` (seconds), if there is one."""
        self._tokens = min(_FULL, self._tokens + FLOOR * max(0.0, now - self._filled))
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
