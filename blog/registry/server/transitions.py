"""Transitions: what is learnt of an instance, what that makes of its state, why it goes. Tables only."""

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from blog.core.instance import Departure, Instance, State


class Signal(Enum):
    """What is learnt of an instance."""

    ADMITTED = auto()
    HEARD = auto()
    SILENT = auto()
    DRAINS = auto()


TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.STARTING: {Signal.ADMITTED: State.READY, Signal.DRAINS: State.DRAINING},
    State.READY: {Signal.SILENT: State.SUSPECT, Signal.DRAINS: State.DRAINING},
    State.SUSPECT: {
        Signal.HEARD: State.READY,
        Signal.ADMITTED: State.READY,
        Signal.DRAINS: State.DRAINING,
    },
    # who asks again (over a new socket) waits until followers have acknowledged that again
    State.DRAINING: {Signal.DRAINS: State.DRAINING},
}
"""What a signal makes of a state; a signal that is not listed changes nothing."""


class Probe(Enum):
    """What came of dialling an instance."""

    ANSWERED = auto()
    SILENT = auto()
    REFUSED = auto()


class Cause(StrEnum):
    """Why an instance is not in the table any more."""

    LEFT = "left"
    REFUSED = "refused"
    SILENT = "silent"
    LEASE_ENDED = "lease_ended"
    FORCED = "forced"

    @property
    def departure(self) -> Departure:
        """What followers are told: it left, or it was lost."""
        return Departure.LEFT if self is Cause.LEFT else Departure.LOST


class Change(NamedTuple):
    """One row of the table as it is now, or with `why` if the instance is gone."""

    instance: Instance
    why: Departure | None = None
