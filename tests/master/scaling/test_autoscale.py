"""Up at once, down when less was enough for a minute, never past the bounds, never to and fro."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.master.scaling.autoscale import (
    STABILIZATION_WINDOW,
    TOLERANCE,
    Autoscaler,
    AutoscaleTarget,
    ServiceLoad,
)

TARGET = AutoscaleTarget(min=1, max=6, in_flight=20)
LAGGING = AutoscaleTarget(min=1, max=6, in_flight=20, lag=100)


def counts(
    target: AutoscaleTarget, loads: list[ServiceLoad], current: int = 1, step: float = 1.0
) -> list[int]:
    """Propose once per `step` seconds; return how many replicas there were after each time."""
    scaler = Autoscaler()
    found = []
    for number, load in enumerate(loads):
        proposed = scaler.propose(target, load, current, number * step)
        current = proposed.replicas if proposed else current
        found.append(current)
    return found


@pytest.mark.parametrize(
    ("current", "in_flight", "after"),
    [
        (1, 0, 1),
        (1, 20, 1),
        (1, 22, 1),  # within 10 % of the target
        (1, 23, 2),
        (1, 60, 3),
        (1, 61, 4),
        (1, 1000, 6),
        (3, 66, 3),
        (3, 67, 4),
        (3, 20, 3),  # not at once
    ],
)
def test_up_at_once(current: int, in_flight: float, after: int) -> None:
    """To as many as bring each one below its target, at the first look."""
    assert counts(TARGET, [ServiceLoad(in_flight)], current) == [after]


def test_replicas_that_are_not_ready_yet_are_not_asked_for_twice() -> None:
    """All wait at the one that is ready; four more are on their way and would be enough."""
    assert counts(TARGET, [ServiceLoad(100)] * 30) == [5] * 30


def test_down_after_a_stable_minute_to_the_most_that_was_needed() -> None:
    """Not to what is needed just then."""
    loads = [ServiceLoad(90)] + [ServiceLoad(35)] * 30 + [ServiceLoad(5)] * 31
    assert counts(TARGET, loads)[-2:] == [5, 2]


def test_one_busy_second_begins_the_minute_anew() -> None:
    """Fewer would not have been enough."""
    quiet, busy = [ServiceLoad(5)] * 59, [ServiceLoad(100)]
    assert set(counts(TARGET, busy + quiet + busy + quiet)) == {5}


def test_what_is_not_known_changes_nothing() -> None:
    """No gateway, no registry, no bus: whoever runs goes on; and the minute begins anew."""
    assert counts(TARGET, [ServiceLoad()] * 200, 4) == [4] * 200
    assert set(counts(TARGET, [ServiceLoad(5)] * 50 + [ServiceLoad()] + [ServiceLoad(5)] * 59, 4)) == {4}


@pytest.mark.parametrize(
    ("load", "after"),
    [
        (ServiceLoad(in_flight=0, lag=350), 4),
        (ServiceLoad(in_flight=100, lag=350), 5),
        (ServiceLoad(in_flight=None, lag=350), 4),  # one signal is enough to go up
        (ServiceLoad(in_flight=100, lag=None), 5),
    ],
)
def test_of_two_signals_the_one_that_needs_more_counts(load: ServiceLoad, after: int) -> None:
    """Requests and events are done by the same replicas."""
    assert counts(LAGGING, [load]) == [after]


def test_down_needs_every_signal() -> None:
    """A bus that is away says nothing of how many events wait."""
    assert set(counts(LAGGING, [ServiceLoad(in_flight=0, lag=None)] * 200, 4)) == {4}
    assert counts(LAGGING, [ServiceLoad(in_flight=0, lag=0)] * 61, 4)[-1] == 1


def test_it_says_why() -> None:
    """In words that `blog ps` shows."""
    found = Autoscaler().propose(LAGGING, ServiceLoad(in_flight=0, lag=350), 1, 0.0)
    assert found is not None
    assert found.why == "load: 350 events of lag, 100 per replica"
    found = Autoscaler().propose(TARGET, ServiceLoad(in_flight=1000), 1, 0.0)
    assert found is not None
    assert found.why == "load: 1000 in flight, 20 per replica; max is 6"


TARGETS = st.builds(
    lambda least, more, each: AutoscaleTarget(least, least + more, each),
    st.integers(1, 5),
    st.integers(0, 10),
    st.floats(0.5, 100),
)


@given(TARGETS, st.floats(0, 5000), st.integers(1, 15))
def test_under_constant_load_it_settles_and_stays(
    target: AutoscaleTarget, load: float, start: int
) -> None:
    """At once upwards, after a minute downwards, and then never again; what it has is enough."""
    start = min(max(start, target.min), target.max)
    found = counts(target, [ServiceLoad(load)] * 400, start)
    settled = found[61]
    assert set(found[61:]) == {settled}
    assert target.min <= settled <= target.max
    assert target.in_flight is not None
    room = settled * target.in_flight * (1 + TOLERANCE + 1e-9)
    assert settled == target.max or load <= room


@given(
    st.integers(1, 5),
    st.floats(0.97, 1.12),
    st.lists(st.sampled_from([1, 10, 70]), min_size=3, max_size=8),
)
def test_noise_at_a_boundary_does_not_make_it_flap(
    replicas: int, near: float, seconds: list[int]
) -> None:
    """Load a little above and below what the replicas can do: after a step down there is none up."""
    noise = [0.04 if place % 2 == 0 else -0.04 for place, n in enumerate(seconds) for _ in range(n)]
    found = counts(TARGET, [ServiceLoad(replicas * 20 * near * (1 + one)) for one in noise], 1)
    turns = [after - before for before, after in pairwise(found) if after != before]
    assert turns == sorted(turns, reverse=True, key=lambda turn: turn > 0)


@given(
    TARGETS,
    st.lists(st.one_of(st.none(), st.floats(0, 10_000, allow_nan=False)), min_size=1, max_size=200),
)
def test_never_past_the_bounds_and_never_down_within_a_minute(
    target: AutoscaleTarget, loads: list[float | None]
) -> None:
    """Whatever the load does."""
    found = counts(target, [ServiceLoad(load) for load in loads], target.min, step=7.0)
    assert all(target.min <= count <= target.max for count in found)
    last_up = 0.0
    for place in range(1, len(found)):
        if found[place] > found[place - 1]:
            last_up = place * 7.0
        elif found[place] < found[place - 1]:
            assert place * 7.0 - last_up >= math.floor(STABILIZATION_WINDOW / 7.0) * 7.0
