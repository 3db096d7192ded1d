"""Whose turn it is: served longest ago."""

from hypothesis import given
from hypothesis import strategies as st

from blog.registry.client.round_robin import RoundRobin


def rotation(*members: str) -> RoundRobin:
    """Make one with members that were served in this order."""
    made = RoundRobin()
    for member in reversed(members):
        made.put(member)
    return made


def test_turns_go_round() -> None:
    """Everybody is served before anybody is served again."""
    turns = rotation("a", "b", "c")
    assert [turns.next() for _ in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_new_one_is_next() -> None:
    """It was never served."""
    turns = rotation("a", "b")
    turns.next()
    turns.put("c")
    assert [turns.next() for _ in range(4)] == ["c", "b", "a", "c"]


def test_putting_again_keeps_the_place() -> None:
    """A state change is no reason to be served twice."""
    turns = rotation("a", "b")
    turns.next()
    turns.put("a")
    assert turns.next() == "b"


def test_the_skipped_keep_their_turn() -> None:
    """Who is skipped is still the one served longest ago."""
    turns = rotation("a", "b", "c")
    assert [turns.next(skip={"a"}), turns.next(), turns.next()] == ["b", "a", "c"]


def test_nobody_is_left() -> None:
    """None, not an error."""
    assert rotation("a").next(skip={"a"}) is None
    assert RoundRobin().next() is None


@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "next"]), st.sampled_from("abcd"))))
def test_it_is_served_longest_ago_whatever_happens(steps: list[tuple[str, str]]) -> None:
    """Against a model that keeps the time of each turn (0: never; newest put first among those)."""
    turns, served = RoundRobin(), dict[str, float]()
    for time, (word, member) in enumerate(steps, 1):
        match word:
            case "put":
                turns.put(member)
                served.setdefault(member, -time)
            case "remove":
                turns.remove(member)
                served.pop(member, None)
            case "next":
                expected = min(served, key=lambda name: served[name], default=None)
                assert turns.next() == expected
                if expected is not None:
                    served[expected] = time


def test_it_has_so_many_members() -> None:
    """None, once the last was removed."""
    turns = rotation("a", "b")
    turns.remove("a")
    assert len(turns) == 1
    turns.remove("b")
    assert not turns
