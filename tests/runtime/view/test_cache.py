"""Answers that are kept: only while nothing changed, only the last ones asked for, only so many bytes."""

from hypothesis import given
from hypothesis import strategies as st

from blog.runtime.view.cache import CachedResponse, ResponseCache


def response(text: str) -> CachedResponse:
    """Give an answer."""
    return CachedResponse(text.encode(), text, {})


def test_what_is_kept_is_found_until_something_changes() -> None:
    """And never again, not even for who asks late."""
    cache = ResponseCache()
    cache.put("a", 1, response("x"))
    assert cache.get("a", 1) == response("x")
    assert cache.get("b", 1) is None
    assert cache.get("a", 2) is None
    cache.put("a", 1, response("old"))
    assert cache.get("a", 2) is None


def test_who_was_not_asked_for_longest_goes_first() -> None:
    """Finding counts as asking."""
    cache = ResponseCache(max_entries=2)
    for key in "ab":
        cache.put(key, 0, response(key))
    cache.get("a", 0)
    cache.put("c", 0, response("c"))
    assert [key for key in "abc" if cache.get(key, 0)] == ["a", "c"]


def test_one_large_response_does_not_push_all_others_out() -> None:
    """More than an eighth of what there is room for is not kept."""
    cache = ResponseCache(max_bytes=80)
    cache.put("small", 0, response("x"))
    cache.put("large", 0, response("x" * 11))
    assert cache.get("small", 0)
    assert cache.get("large", 0) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.integers(0, 12), st.booleans()),
        max_size=60,
    )
)
def test_it_is_a_memory_that_may_only_forget(asked: list[tuple[str, int, int, bool]]) -> None:
    """Against a plain dict: what is found was kept for that state of the rows; the bounds always hold."""
    cache = ResponseCache(max_entries=4, max_bytes=80)
    kept: dict[tuple[str, int], CachedResponse] = {}
    newest = 0
    for key, behind, size, is_kept in asked:
        generation = max(newest - behind, 0) if is_kept else newest + behind
        newest = max(newest, generation)
        if is_kept:
            made = response(f"{generation}" * size)
            kept[key, generation] = made
            cache.put(key, generation, made)
        else:
            found = cache.get(key, generation)
            assert found is None or found == kept[key, generation]
        sizes = [len(item.body) for item in cache._responses.values()]
        assert len(sizes) <= 4
        assert sum(sizes) == cache._bytes <= 80
