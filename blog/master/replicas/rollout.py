"""A rollout: every copy of a service is replaced, one by one. The next step, as a pure function.

A new copy is started and must be ready before an old one is drained: there are never fewer that answer.
One that does not get ready ends it, and the old ones go on.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

PATIENCE = 60.0
"""Seconds that a new copy has to get ready."""


class ObservedReplica(NamedTuple):
    """A copy of the service that is rolled out."""

    name: str
    is_old: bool
    is_ready: bool = False
    is_stopping: bool = False
    is_crash_loop: bool = False
    refusal: str = ""
    """Why it cannot run at all."""


class RolloutAction(StrEnum):
    """What comes next."""

    WAIT = "wait"
    START = "start"
    """One more than there should be."""
    DRAIN = "drain"
    """An old one: no more than there should be."""
    DONE = "done"
    GIVE_UP = "give up"


class RolloutStep(NamedTuple):
    """The next step; `why` says it to people where it is not just the next."""

    do: RolloutAction
    why: str = ""


def step(
    copies: Sequence[ObservedReplica], desired: int, *, is_surging: bool, waited: float, patience: float
) -> RolloutStep:
    """Decide. `is_surging`: one more than `desired` is wanted now, since `waited` seconds."""
    staying = [copy for copy in copies if not copy.is_stopping]
    fresh = [copy for copy in staying if not copy.is_old]
    if len(staying) < len(copies):
        return RolloutStep(RolloutAction.WAIT)
    if len(fresh) == len(staying) and not is_surging:
        return RolloutStep(RolloutAction.DONE)
    if not is_surging:
        return RolloutStep(RolloutAction.START if len(staying) <= desired else RolloutAction.WAIT)
    return _surging(fresh, waited, patience, has_come=len(staying) > desired)


def _surging(
    fresh: Sequence[ObservedReplica], waited: float, patience: float, *, has_come: bool
) -> RolloutStep:
    late = next((copy for copy in fresh if not copy.is_ready), None)
    if late is None and has_come:
        return RolloutStep(RolloutAction.DRAIN)
    if late is not None and late.refusal:
        return RolloutStep(RolloutAction.GIVE_UP, f"{late.name} cannot run: {late.refusal}")
    if late is not None and late.is_crash_loop:
        return RolloutStep(RolloutAction.GIVE_UP, f"{late.name} crashes again and again")
    if waited < patience:
        return RolloutStep(RolloutAction.WAIT)
    name = late.name if late else "a new copy"
    return RolloutStep(RolloutAction.GIVE_UP, f"{name} was not ready within {patience:g} s")
