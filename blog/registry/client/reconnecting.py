"""Reconnecting: when to try a registry again, and when to say that it cannot be reached. Pure."""

from blog.core.backoff import Backoff

_EARLY, _LATE, _EARLY_FAILURES = Backoff(0.05, 0.3), Backoff(0.6, 0.6), 30
# failures until a line about them: a gateway takes seconds to start; the next after twice as many
_WARN_FIRST = 20


def reconnect_delay(failures: int) -> float:
    """Return the seconds until the next try: full jitter, up to 0.3 s at first, up to 0.6 s later.

    It does not grow beyond that: a registry that returns after hours has all instances within a second.
    """
    return (_EARLY if failures <= _EARLY_FAILURES else _LATE).full_jitter(failures)


def is_worth_a_line(failures: int) -> bool:
    """Return whether to log this failure: the 20th, 40th, 80th … in a row."""
    times, rest = divmod(failures, _WARN_FIRST)
    return rest == 0 and times.bit_count() == 1
