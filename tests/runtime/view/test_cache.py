"""Answers that are kept: only while nothing changed, only the last ones asked for, only so many bytes."""

from hypothesis import given
from hypothesis import strategies as st

from blog.runtime.view.cache import CachedResponse, ResponseCache


def answer(text: str) -> CachedResponse:
    """Give an answer."""
    return CachedResponse(text.encode(), text, {})


def test_what_is_kept_is_found_until_something_changes() -> None:
    """And never again, not even for who asks late."""
    hot = ResponseCache()
    hot.keep("a", 1, answer("x"))
    assert hot.find("a", 1) == answer("x")
    assert hot.find("b", 1) is None
    assert hot.find("a", 2) is None
    hot.keep("a", 1, answer("old"))
    assert hot.find("a", 2) is None


def test_who_was_not_asked_for_longest_goes_first() -> None:
    """Finding counts as asking."""
    hot = ResponseCache(most=2)
    for key in "ab":
        hot.keep(key, 0, answer(key))
    hot.find("a", 0)
    hot.keep("c", 0, answer("c"))
    assert [key for key in "abc" if hot.find(key, 0)] == ["a", "c"]


def test_one_large_answer_does_not_push_all_others_out() -> None:
    """More than an eighth of what there is room for is not kept."""
    hot = ResponseCache(most_bytes=80)
    hot.keep("small", 0, answer("x"))
    hot.keep("large", 0, answer("x" * 11))
    assert hot.find("small", 0)
    assert hot.find("large", 0) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.integers(0, 12), st.booleans()),
        max_size=60,
    )
)
def test_it_is_a_memory_that_may_only_forget(asked: list[tuple[str, int, int, bool]]) -> None:
    """Against a plain dict: what is found was kept for that state of the rows; the bounds always hold."""
    hot = ResponseCache(most=4, most_bytes=80)
    kept: dict[tuple[str, int], CachedResponse] = {}
    newest = 0
    for key, behind, size, is_kept in asked:
        changed = max(newest - behind, 0) if is_kept else newest + behind
        newest = max(newest, changed)
        if is_kept:
            made = answer(f"{changed}" * size)
            kept[key, changed] = made
            hot.keep(key, changed, made)
        else:
            found = hot.find(key, changed)
            assert found is None or found == kept[key, changed]
        sizes = [len(item.body) for item in hot._kept.values()]
        assert len(sizes) <= 4
        assert sum(sizes) == hot._bytes <= 80
