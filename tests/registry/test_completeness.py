"""When a registry that has just started knows everybody again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.registry.completeness import GIVE_UP_AFTER, RETURN_WITHIN, Completeness

BEGAN = 100.0
NOBODY: dict[str, int] = {}
SOON, LATER, MUCH_LATER = BEGAN + 0.1, BEGAN + RETURN_WITHIN, BEGAN + GIVE_UP_AFTER


def test_an_empty_registry_is_not_complete_at_once() -> None:
    """Nobody was named, so nobody knows who is still to come: it waits for 5 s."""
    table = Completeness(BEGAN)
    assert not table.is_reached(BEGAN, NOBODY)
    assert not table.is_reached(LATER - 0.1, {"posts": 1})
    assert table.is_reached(LATER, NOBODY)


def test_one_whose_master_starts_nobody_is_complete_at_once() -> None:
    """To say that nobody is to come is not the same as to say nothing."""
    table = Completeness(BEGAN)
    table.name({})
    assert table.is_reached(BEGAN, NOBODY)


def test_memory_that_is_empty_names_nobody() -> None:
    """A blog that was stopped in order left at most its gateway; the next start knows nothing."""
    for before in ({}, {"gateway": 1}):
        assert not Completeness(BEGAN, before).is_reached(SOON, NOBODY)


@pytest.mark.parametrize("by_memory", [True, False])
def test_everybody_who_was_named_has_to_be_there(*, by_memory: bool) -> None:
    """As many of each service as the registry knew before, or as its master says."""
    named = {"posts": 2, "query": 1}
    table = Completeness(BEGAN, named if by_memory else None)
    if not by_memory:
        table.name(named)
    assert not table.is_reached(SOON, {"posts": 2})
    assert not table.is_reached(SOON, {"posts": 1, "query": 1})
    assert table.is_reached(SOON, {"posts": 2, "query": 1})


def test_a_master_knows_better_than_memory_of_what_it_names() -> None:
    """Memory counts for the other services: somebody started them without this master."""
    table = Completeness(BEGAN, {"shop": 1, "posts": 3, "web": 1})
    table.name({"posts": 1, "query": 1, "web": 0})
    assert not table.is_reached(SOON, {"posts": 1, "query": 1})
    assert not table.is_reached(SOON, {"posts": 3, "shop": 1})
    assert table.is_reached(SOON, {"posts": 1, "query": 1, "shop": 1})


def test_the_last_word_of_a_master_counts() -> None:
    """A service that cannot run at all is not waited for once that is known."""
    table = Completeness(BEGAN)
    table.name({"posts": 1, "broken": 1})
    assert not table.is_reached(SOON, {"posts": 1})
    table.name({"posts": 1, "broken": 0})
    assert table.is_reached(SOON, {"posts": 1})


def test_after_a_while_one_of_each_service_is_enough() -> None:
    """Copies may have died meanwhile; a service that was named is waited for longer, not for ever."""
    table = Completeness(BEGAN, {"posts": 2, "query": 1})
    assert not table.is_reached(LATER, {"posts": 2})
    assert table.is_reached(LATER, {"posts": 1, "query": 1})
    table = Completeness(BEGAN, {"posts": 2})
    assert not table.is_reached(MUCH_LATER - 0.1, NOBODY)
    assert table.is_reached(MUCH_LATER, NOBODY)


def test_a_gateway_is_not_waited_for() -> None:
    """It is ready when the table is complete: each would wait for the other."""
    assert Completeness(BEGAN, {"gateway": 2, "posts": 1}).is_reached(SOON, {"posts": 1})


def test_whom_followers_knew_is_waited_for_but_names_nobody() -> None:
    """A follower knows only what it follows: that those are back does not say that all are."""
    table = Completeness(BEGAN)
    table.expect(["a"], SOON)
    table.met("a")
    assert not table.is_reached(SOON, {"posts": 1})
    table = Completeness(BEGAN, {"posts": 1})
    table.expect(["a", "b"], SOON)
    table.met("a")
    table.expect(["a"], SOON)
    assert not table.is_reached(SOON, {"posts": 2})
    table.met("b")
    assert table.is_reached(SOON, {"posts": 2})


def test_whom_followers_knew_may_have_died_meanwhile() -> None:
    """5 s, and what a follower says later changes nothing."""
    table = Completeness(BEGAN)
    table.expect(["a"], SOON)
    assert table.is_reached(LATER, NOBODY)
    table.expect(["b"], LATER)
    assert table.is_reached(LATER, NOBODY)


numbers = st.dictionaries(st.sampled_from(["posts", "query", "gateway"]), st.integers(-1, 3))


@given(numbers, st.none() | numbers, st.lists(st.tuples(st.floats(0, 40), numbers), max_size=8))
def test_complete_is_complete_for_good(
    before: dict[str, int], named: dict[str, int] | None, looks: list[tuple[float, dict[str, int]]]
) -> None:
    """And never later than 30 s after the start, whoever was named and whoever comes."""
    table = Completeness(BEGAN, before)
    if named is not None:
        table.name(named)
    reached = False
    for age, serving in sorted(looks, key=lambda look: look[0]):
        is_reached = table.is_reached(BEGAN + age, serving)
        assert is_reached or not (reached or age >= GIVE_UP_AFTER)
        reached = is_reached
        if named is None and before.keys() <= {"gateway"}:
            assert is_reached == (age >= RETURN_WITHIN)
