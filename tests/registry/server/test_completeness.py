"""When a registry that has just started knows everybody again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.registry.server.completeness import (
    FORGET_AFTER,
    GIVE_UP_AFTER,
    RETURN_WITHIN,
    Completeness,
    ServiceMemory,
)

BEGAN = 100.0
NOBODY: dict[str, int] = {}
SOON, LATER, MUCH_LATER = BEGAN + 0.1, BEGAN + RETURN_WITHIN, BEGAN + GIVE_UP_AFTER


def test_an_empty_registry_is_not_complete_at_once() -> None:
    """Nobody was named, so nobody knows who is still to come: it waits for 5 s."""
    table = Completeness(BEGAN)
    assert not table.is_complete(BEGAN, NOBODY)
    assert not table.is_complete(LATER - 0.1, {"posts": 1})
    assert table.is_complete(LATER, NOBODY)


def test_one_whose_master_starts_nobody_is_complete_at_once() -> None:
    """To say that nobody is to come is not the same as to say nothing."""
    table = Completeness(BEGAN)
    table.expect_services({})
    assert table.is_complete(BEGAN, NOBODY)


def test_memory_that_is_empty_names_nobody() -> None:
    """Nor does one of a gateway or a registry alone: they announce themselves, and nobody else."""
    for before in ({}, {"gateway": 1}, {"registry": 1}, {"gateway": 2, "registry": 1}):
        assert not Completeness(BEGAN, before).is_complete(SOON, NOBODY)


@pytest.mark.parametrize("by_memory", [True, False])
def test_everybody_who_was_named_has_to_be_there(*, by_memory: bool) -> None:
    """As many of each service as the registry knew before, or as its master says."""
    named = {"posts": 2, "query": 1}
    table = Completeness(BEGAN, named if by_memory else None)
    if not by_memory:
        table.expect_services(named)
    assert not table.is_complete(SOON, {"posts": 2})
    assert not table.is_complete(SOON, {"posts": 1, "query": 1})
    assert table.is_complete(SOON, {"posts": 2, "query": 1})


def test_a_master_knows_better_than_memory_of_what_it_names() -> None:
    """Memory counts for the other services: somebody started them without this master."""
    table = Completeness(BEGAN, {"shop": 1, "posts": 3, "web": 1})
    table.expect_services({"posts": 1, "query": 1, "web": 0})
    assert not table.is_complete(SOON, {"posts": 1, "query": 1})
    assert not table.is_complete(SOON, {"posts": 3, "shop": 1})
    assert table.is_complete(SOON, {"posts": 1, "query": 1, "shop": 1})


def test_the_last_word_of_a_master_counts() -> None:
    """A service that cannot run at all is not waited for once that is known."""
    table = Completeness(BEGAN)
    table.expect_services({"posts": 1, "broken": 1})
    assert not table.is_complete(SOON, {"posts": 1})
    table.expect_services({"posts": 1, "broken": 0})
    assert table.is_complete(SOON, {"posts": 1})


def test_after_a_while_one_of_each_service_is_enough() -> None:
    """Copies may have died meanwhile; a service that was named is waited for longer, not for ever."""
    table = Completeness(BEGAN, {"posts": 2, "query": 1})
    assert not table.is_complete(LATER, {"posts": 2})
    assert table.is_complete(LATER, {"posts": 1, "query": 1})
    table = Completeness(BEGAN, {"posts": 2})
    assert not table.is_complete(MUCH_LATER - 0.1, NOBODY)
    assert table.is_complete(MUCH_LATER, NOBODY)


def test_a_service_that_only_memory_names_keeps_a_master_waiting_for_five_seconds() -> None:
    """Its folder was perhaps removed; a service that the master starts is waited for longer."""
    table = Completeness(BEGAN, {"removed": 1})
    table.expect_services({"posts": 1})
    assert not table.is_complete(LATER - 0.1, {"posts": 1})
    assert not table.is_complete(LATER, NOBODY)
    assert table.is_complete(LATER, {"posts": 1})


def test_a_gateway_is_not_waited_for() -> None:
    """It is ready when the table is complete: each would wait for the other."""
    assert Completeness(BEGAN, {"gateway": 2, "posts": 1}).is_complete(SOON, {"posts": 1})


def test_whom_followers_knew_is_waited_for_but_names_nobody() -> None:
    """A follower knows only what it follows: that those are back does not say that all are."""
    table = Completeness(BEGAN)
    table.expect(["a"], SOON)
    table.resolve("a")
    assert not table.is_complete(SOON, {"posts": 1})
    table = Completeness(BEGAN, {"posts": 1})
    table.expect(["a", "b"], SOON)
    table.resolve("a")
    table.expect(["a"], SOON)
    assert not table.is_complete(SOON, {"posts": 2})
    table.resolve("b")
    assert table.is_complete(SOON, {"posts": 2})


def test_whom_followers_knew_may_have_died_meanwhile() -> None:
    """5 s, and what a follower says later changes nothing."""
    table = Completeness(BEGAN)
    table.expect(["a"], SOON)
    assert table.is_complete(LATER, NOBODY)
    table.expect(["b"], LATER)
    assert table.is_complete(LATER, NOBODY)


numbers = st.dictionaries(st.sampled_from(["posts", "query", "gateway", "registry"]), st.integers(-1, 3))


@given(numbers, st.none() | numbers, st.lists(st.tuples(st.floats(0, 40), numbers), max_size=8))
def test_complete_is_complete_for_good(
    before: dict[str, int], named: dict[str, int] | None, looks: list[tuple[float, dict[str, int]]]
) -> None:
    """And never later than 30 s after the start, whoever was named and whoever comes."""
    table = Completeness(BEGAN, before)
    if named is not None:
        table.expect_services(named)
    reached = False
    for age, serving in sorted(looks, key=lambda look: look[0]):
        is_complete = table.is_complete(BEGAN + age, serving)
        assert is_complete or not (reached or age >= GIVE_UP_AFTER)
        reached = is_complete
        if named is None and before.get("posts", 0) <= 0 and before.get("query", 0) <= 0:
            assert is_complete == (age >= RETURN_WITHIN)


def test_what_is_stopped_is_remembered_and_what_is_removed_is_not() -> None:
    """A blog ends instance by instance, within seconds; the next start has to know all of them."""
    memory = ServiceMemory()
    assert memory.update({"bus": 1, "posts": 3}, 0.0) == {"bus": 1, "posts": 3}
    assert memory.update({"posts": 1}, 10.0) == {"bus": 1, "posts": 3}
    assert memory.update({}, 10.0 + FORGET_AFTER - 0.1) == {"bus": 1, "posts": 3}
    assert memory.update({"posts": 2}, 10.0 + FORGET_AFTER) == {"posts": 2}
    assert memory.update({"posts": 4, "bus": 1}, 80.0) == {"posts": 4, "bus": 1}


def test_what_comes_back_in_time_is_not_forgotten_later() -> None:
    """Only a minute without a break counts."""
    memory = ServiceMemory()
    memory.update({"bus": 1}, 0.0)
    for now in range(0, 200, 50):
        assert memory.update({}, now + 1.0) == {"bus": 1}
        assert memory.update({"bus": 1}, now + 49.0) == {"bus": 1}
