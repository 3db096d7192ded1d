"""Rollout: every replica of a service is replaced, one by one. The next step, as a pure function.

A new replica must be ready before an old one is drained: there are never fewer ready ones. A new one that
does not become ready ends the rollout, and the old ones go on.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

READY_TIMEOUT = 60.0
"""Seconds that a new replica has to become ready."""


class ObservedReplica(NamedTuple):
    """A replica of the service that is rolled out, as the next step needs it."""

    name: str
    is_old: bool
    is_ready: bool = False
    is_stopping: bool = False
    is_crash_loop: bool = False
    config_error: str = ""
    """Why it cannot run at all."""


class RolloutAction(StrEnum):
    """What comes next."""

    WAIT = "wait"
    START = "start"
    """Start one more than desired."""
    DRAIN = "drain"
    """Drain an old one: back to the desired number."""
    DONE = "done"
    ABORT = "abort"


class RolloutStep(NamedTuple):
    """The next step; `reason` says why the rollout is aborted."""

    action: RolloutAction
    reason: str = ""


def next_step(
    replicas: Sequence[ObservedReplica],
    desired: int,
    *,
    is_surging: bool,
    waited: float,
    ready_timeout: float,
) -> RolloutStep:
    """Decide. `is_surging`: one more than `desired` should run, since `waited` seconds."""
    staying = [replica for replica in replicas if not replica.is_stopping]
    fresh = [replica for replica in staying if not replica.is_old]
    if len(staying) < len(replicas):
        return RolloutStep(RolloutAction.WAIT)
    if len(fresh) == len(staying) and not is_surging:
        return RolloutStep(RolloutAction.DONE)
    if not is_surging:
        return RolloutStep(RolloutAction.START if len(staying) <= desired else RolloutAction.WAIT)
    return _surging(fresh, waited, ready_timeout, is_started=len(staying) > desired)


def _surging(
    fresh: Sequence[ObservedReplica], waited: float, ready_timeout: float, *, is_started: bool
) -> RolloutStep:
    late = next((replica for replica in fresh if not replica.is_ready), None)
    if late is None and is_started:
        return RolloutStep(RolloutAction.DRAIN)
    if late is not None and late.config_error:
        return RolloutStep(RolloutAction.ABORT, f"{late.name} cannot run: {late.config_error}")
    if late is not None and late.is_crash_loop:
        return RolloutStep(RolloutAction.ABORT, f"{late.name} crashes again and again")
    if waited < ready_timeout:
        return RolloutStep(RolloutAction.WAIT)
    name = late.name if late else "a new replica"
    return RolloutStep(RolloutAction.ABORT, f"{name} was not ready within {ready_timeout:g} s")
