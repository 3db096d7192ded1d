"""Transitions: what is learnt of an instance, what that makes of its state, why it goes. Tables only."""

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from blog.core.instance import Departure, Instance, State


class MemberSignal(Enum):
    """What is learnt of an instance."""

    ADMITTED = auto()
    HEARD = auto()
    SILENT = auto()
    DRAINS = auto()


TRANSITIONS: dict[State, dict[MemberSignal, State]] = {
    State.STARTING: {MemberSignal.ADMITTED: State.READY, MemberSignal.DRAINS: State.DRAINING},
    State.READY: {MemberSignal.SILENT: State.SUSPECT, MemberSignal.DRAINS: State.DRAINING},
    State.SUSPECT: {
        MemberSignal.HEARD: State.READY,
        MemberSignal.ADMITTED: State.READY,
        MemberSignal.DRAINS: State.DRAINING,
    },
    # who asks again (over a new socket) waits until followers have acknowledged that again
    State.DRAINING: {MemberSignal.DRAINS: State.DRAINING},
}
"""What a signal makes of a state; a signal that is not listed changes nothing."""


class ProbeResult(Enum):
    """What came of dialling an instance."""

    ANSWERED = auto()
    SILENT = auto()
    REFUSED = auto()


class RemovalCause(StrEnum):
    """Why an instance is not in the table any more."""

    LEFT = "left"
    REFUSED = "refused"
    SILENT = "silent"
    LEASE_ENDED = "lease_ended"
    FORCED = "forced"

    @property
    def departure(self) -> Departure:
        """What followers are told: it left, or it was lost."""
        return Departure.LEFT if self is RemovalCause.LEFT else Departure.LOST


class StateChange(NamedTuple):
    """One row of the table as it is now, or with `why` if the instance is gone."""

    instance: Instance
    why: Departure | None = None
