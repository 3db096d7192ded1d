"""The wait grows with the failures, has a cap at any number of them, and a row ends by what held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.backoff import Backoff, Failures, spread

TIMES = Backoff(0.2, 60.0)
MANY = [1024, 1025, 10**9, 10**30, 10**400]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.2), (2, 0.4), (3, 0.8), (9, 51.2), (10, 60.0), (11, 60.0)]
)
def test_the_delay_doubles_up_to_the_cap(failures: int, seconds: float) -> None:
    """The first failure waits `first` seconds; nothing that failed waits for nothing."""
    assert TIMES.delay(failures) == pytest.approx(seconds)


@pytest.mark.parametrize("failures", MANY)
def test_no_number_of_failures_is_too_large(failures: int) -> None:
    """The power of such a number is larger than any float."""
    assert TIMES.delay(failures) == 60
    assert Backoff(0.5, 0.5).delay(failures) == 0.5
    assert Backoff(0.5, 2, growth=1.0).delay(failures) == 0.5
    assert Backoff(1e-300, 1.0, growth=1e300).delay(failures) == 1


@given(
    first=st.floats(1e-6, 10),
    more=st.floats(1, 1e6),
    growth=st.floats(1, 1e6),
    failures=st.integers(0, 10**12),
)
def test_the_delay_never_shrinks_and_never_passes_the_cap(
    first: float, more: float, growth: float, failures: int
) -> None:
    """Whatever its numbers are."""
    times = Backoff(first, first * more, growth)
    assert 0 <= times.delay(failures) <= times.delay(failures + 1) <= times.cap
    assert times.delay(1) == first


@pytest.mark.parametrize(
    ("first", "cap", "growth"),
    [
        (0, 1, 2),
        (-1, 1, 2),
        (2, 1, 2),
        (1, 2, 0.5),
        (1, 2, float("nan")),
        (1, 2, float("inf")),
        (1, float("inf"), 2),
        (float("nan"), 2, 2),
        (1, float("nan"), 2),
        (5e-324, 1, 2),
    ],
)
def test_numbers_that_make_no_back_off_are_refused(first: float, cap: float, growth: float) -> None:
    """When it is made, not at the first failure of a night."""
    with pytest.raises(ValueError, match="first <= cap"):
        Backoff(first, cap, growth)


def test_a_negative_number_of_failures_is_refused() -> None:
    """It is a mistake of the caller."""
    with pytest.raises(ValueError, match="negative"):
        TIMES.delay(-1)


@pytest.mark.parametrize(("drawn", "full", "equal"), [(0.0, 0.0, 0.4), (0.5, 0.4, 0.6), (1.0, 0.8, 0.8)])
def test_jitter_draws_from_the_delay(drawn: float, full: float, equal: float) -> None:
    """From all of it, or from its second half."""
    assert TIMES.full_jitter(3, lambda: drawn) == pytest.approx(full)
    assert TIMES.equal_jitter(3, lambda: drawn) == pytest.approx(equal)


def test_jitter_draws_anew_each_time() -> None:
    """Unless a test says what is drawn."""
    assert len({TIMES.full_jitter(5) for _ in range(20)}) > 1
    assert all(1.6 <= TIMES.equal_jitter(5) <= 3.2 for _ in range(20))


def test_a_pause_is_drawn_between_two_bounds() -> None:
    """Evenly."""
    assert [spread(0.02, 0.2, lambda: drawn) for drawn in (0.0, 0.5)] == pytest.approx([0.02, 0.11])
    assert spread(0.0, 0.0) == 0
    for least, most in ((-1, 1), (2, 1), (0, float("nan"))):
        with pytest.raises(ValueError, match="not valid bounds"):
            spread(least, most)


def test_what_held_begins_a_new_row() -> None:
    """A session that is broken off at once goes on with the row, however often it is accepted."""
    failures = Failures(held_after=30)
    assert [failures.ended(now) for now in (1, 2)] == [1, 2]
    for now in (10, 20):
        failures.started(now)
        failures.ended(now + 1)
    assert failures.count == 4
    failures.started(100)
    assert failures.ended(130) == 1


def test_a_start_counts_once() -> None:
    """A try that comes to no session has no part in the time of the session before."""
    failures = Failures(held_after=5)
    failures.started(0)
    assert failures.ended(10) == 1
    assert failures.ended(20) == 2


def test_the_life_of_a_process_can_be_given_as_it_is() -> None:
    """Where the caller knows the seconds, no clock is asked."""
    failures = Failures(held_after=30)
    assert [failures.add(lived) for lived in (0.1, 29.9, 30.0, 0)] == [1, 2, 1, 2]
    assert repr(failures) == "Failures(held_after=30, count=2)"
    with pytest.raises(ValueError, match="more than 0"):
        Failures(0)
