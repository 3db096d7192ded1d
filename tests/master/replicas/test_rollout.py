"""The next step of a rollout, and that whole rollouts end well whatever happens to the replicas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.master.replicas.rollout import READY_TIMEOUT, ObservedReplica, RolloutAction, next_step

OLD = [
    ObservedReplica("c-1", is_old=True, is_ready=True),
    ObservedReplica("c-2", is_old=True, is_ready=True),
]
NEW = ObservedReplica("c-3", is_old=False, is_ready=True)
LATE = NEW._replace(is_ready=False)


@pytest.mark.parametrize(
    ("replicas", "is_surging", "waited", "action"),
    [
        ([], False, 0, RolloutAction.DONE),
        (OLD, False, 0, RolloutAction.START),
        (OLD, True, 0, RolloutAction.WAIT),  # the new one has not been started yet
        ([*OLD, LATE], True, 5, RolloutAction.WAIT),
        ([*OLD, NEW], True, 5, RolloutAction.DRAIN),
        ([*OLD, NEW], False, 5, RolloutAction.WAIT),  # none has been asked to drain yet
        ([OLD[0], OLD[1]._replace(is_stopping=True), NEW], False, 5, RolloutAction.WAIT),
        ([OLD[0], NEW], False, 9, RolloutAction.START),
        ([OLD[0], NEW, LATE], True, 9, RolloutAction.WAIT),
        ([NEW, NEW], False, 9, RolloutAction.DONE),
        ([*OLD, LATE], True, READY_TIMEOUT, RolloutAction.ABORT),
        (OLD, True, READY_TIMEOUT, RolloutAction.ABORT),
        ([*OLD, LATE._replace(is_crash_loop=True)], True, 1, RolloutAction.ABORT),
        ([*OLD, LATE._replace(config_error="no")], True, 1, RolloutAction.ABORT),
        # one that was new and ready before, and has crashed since, is waited for too
        ([OLD[0], LATE, NEW], True, 1, RolloutAction.WAIT),
    ],
)
def test_the_next_step(
    replicas: list[ObservedReplica],
    is_surging: bool,  # noqa: FBT001
    waited: float,
    action: RolloutAction,
) -> None:
    """Start, wait, drain, wait; and give up rather than drain one that is needed."""
    assert (
        next_step(replicas, 2, is_surging=is_surging, waited=waited, ready_timeout=READY_TIMEOUT).action
        is action
    )


def test_it_says_who_did_not_get_ready() -> None:
    """With the seconds that it had."""
    found = next_step([*OLD, LATE], 2, is_surging=True, waited=9, ready_timeout=9)
    assert found.reason == "c-3 was not ready within 9 s"


@given(st.integers(0, 6), st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_never_fewer_are_ready_and_everybody_is_replaced(desired: int, delays: list[int]) -> None:
    """However long each new one takes: as many as there should be are ready at every moment."""
    replicas = [ObservedReplica(f"c-{n}", is_old=True, is_ready=True) for n in range(desired)]
    surging, born, due = False, 0, 0
    for turn in range(300):
        replicas = [one._replace(is_ready=True) if turn >= due else one for one in replicas]
        replicas = [one for one in replicas if not one.is_stopping]
        found = next_step(replicas, desired, is_surging=surging, waited=0, ready_timeout=READY_TIMEOUT)
        if found.action is RolloutAction.DONE:
            break
        if found.action is RolloutAction.START:
            surging, due = True, turn + delays[born % 30]
            replicas = [*replicas, ObservedReplica(f"n-{born}", is_old=False)]
            born += 1
        if found.action is RolloutAction.DRAIN:
            surging = False
            victim = next(one for one in replicas if one.is_old)
            replicas = [one._replace(is_stopping=True) if one is victim else one for one in replicas]
        assert sum(one.is_ready and not one.is_stopping for one in replicas) >= desired
        assert len(replicas) <= desired + 1
    assert [one.is_old for one in replicas] == [False] * desired
    assert born == desired
