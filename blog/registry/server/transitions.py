"""Transitions: signals about an instance, the states they lead to, causes of removal. Tables only."""

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from blog.core.instance import Departure, Instance, State


class MemberSignal(Enum):
    """A fact about an instance that may change its state."""

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
    # an instance that asks again, over a new session, waits for the acknowledgements again
    State.DRAINING: {MemberSignal.DRAINS: State.DRAINING},
}
"""The state that a signal leads to; a signal that is not listed changes nothing."""


class ProbeResult(Enum):
    """The result of a probe."""

    ANSWERED = auto()
    SILENT = auto()
    REFUSED = auto()


class RemovalCause(StrEnum):
    """Why an instance was removed from the table."""

    LEFT = "left"
    REFUSED = "refused"
    SILENT = "silent"
    LEASE_ENDED = "lease_ended"
    FORCED = "forced"

    @property
    def departure(self) -> Departure:
        """What followers learn: it left, or it was lost."""
        return Departure.LEFT if self is RemovalCause.LEFT else Departure.LOST


class StateChange(NamedTuple):
    """One row of the table as it is now; `why` is set if the instance is gone."""

    instance: Instance
    why: Departure | None = None
