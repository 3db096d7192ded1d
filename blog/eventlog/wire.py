"""Wire: the log's HTTP API as both of its sides know it: what the bus writes here, its client reads here.

Pure: bytes and values, no I/O.
"""

from dataclasses import dataclass
from typing import NamedTuple

LOG_HEADER = "Blog-Log"
"""On every response of the bus: the identity of its log."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the log has an event. `duplicate`: it had it before this append."""

    id: str
    sequence: int
    duplicate: bool = False


class Head(NamedTuple):
    """The identity of a log and its last sequence, 0 when it is empty."""

    log: str
    sequence: int
