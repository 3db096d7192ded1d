"""Identifiers: UUIDv7 for what is new (RFC 9562 §5.7), UUIDv5 for what follows from something (§5.5)."""

import hashlib
import secrets
import threading
import time
from typing import Annotated
from uuid import UUID, uuid5

from pydantic import StringConstraints

NAMESPACE = UUID("6f1c8a52-6f0e-5c9b-9a3f-2f6a8d1d7b10")
"""The namespace of every id that is derived in this system."""

Id = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
"""An id as people send it back to us: a UUID in lower case, and nothing else (no `__proto__`)."""

_COUNTER_BITS = 12 + 18
_lock = threading.Lock()
_last = (0, 0)


def new_id() -> str:
    """Make a UUIDv7: sorts by the time it was made, and within one process strictly so.

    48 bits of Unix milliseconds, a 30-bit counter that starts at random in each millisecond
    (RFC 9562 §6.2, method 1), 44 random bits.
    """
    milliseconds, counter = _tick()
    value = milliseconds << 80 | 0x7 << 76 | (counter >> 18) << 64 | 0b10 << 62
    value |= (counter & (1 << 18) - 1) << 44 | secrets.randbits(44)
    return str(UUID(int=value))


def derived_id(*parts: str | int) -> str:
    """Make the UUIDv5 of `parts`: the same parts give the same id, in any process.

    Each part is length-prefixed, so that no two different lists of parts read the same.
    """
    return str(uuid5(NAMESPACE, "".join(f"{len(str(part))}:{part}" for part in parts)))


def sha256_hex(text: str) -> str:
    """Hash `text` (as UTF-8) to 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _tick() -> tuple[int, int]:
    """Return the millisecond and a counter that never repeat or go back within this process."""
    global _last  # noqa: PLW0603 - the one piece of state that makes ids of a process sort
    with _lock:
        milliseconds, counter = max(time.time_ns() // 1_000_000, _last[0]), _last[1] + 1
        if milliseconds > _last[0]:
            # the upper half stays free, so that counting up does not overflow
            counter = secrets.randbits(_COUNTER_BITS - 1)
        elif counter >> _COUNTER_BITS:
            milliseconds, counter = milliseconds + 1, 0
        _last = (milliseconds, counter)
        return _last
