"""The newest events in memory: the same pages as the log's, or none."""

import random

from hypothesis import given
from hypothesis import strategies as st

from blog.bus.log.schema import LogEntry
from blog.bus.log.tail import PAGE_BYTES, TAIL_BYTES, EventFilter, Tail, TailPage, take_page


def entry(sequence: int, key: str = "k", type_: str = "t", size: int = 10) -> LogEntry:
    """Give a row."""
    return LogEntry(sequence, f"e{sequence}", type_, key, "x" * size)


@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("tu"))), st.data())
def test_it_answers_as_the_log_does(start: int, rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """Whatever is read, and however the events came: what a naive look at all of them gives."""
    everything = [entry(start + n, key, type_) for n, (key, type_) in enumerate(rows, 1)]
    tail, chance = Tail(start), random.Random(1)  # noqa: S311 - the same each time
    taken = 0
    while taken < len(everything):
        step = chance.randint(1, 5)
        tail.append(everything[taken : taken + step])
        taken += step
    after, limit = data.draw(st.integers(0, start + len(rows) + 2)), data.draw(st.integers(1, 10))
    types = data.draw(st.frozensets(st.sampled_from("tu")))
    key = data.draw(st.sampled_from([None, "a", "b", "c"]))
    found = tail.read(after, limit, EventFilter(types, key))
    if after < start:
        assert found is None
        return
    expected = [
        row for row in everything
        if row.sequence > after and (not types or row.type in types) and key in (None, row.key)
    ]  # fmt: skip
    through = expected[limit - 1].sequence if len(expected) >= limit else max(after, start + len(rows))
    assert found == TailPage(expected[:limit], through)


def test_memory_is_bounded_and_what_is_forgotten_is_not_answered() -> None:
    """The newest bytes stay; older ones are on disk only."""
    tail = Tail(0)
    size = TAIL_BYTES // 10
    for sequence in range(1, 100):
        tail.append([entry(sequence, size=size)])
        assert tail._size <= 2 * TAIL_BYTES
    assert tail.start > 0
    assert tail.read(tail.start - 1, 10, EventFilter()) is None
    page = tail.read(tail.start, 1000, EventFilter())
    assert page is not None
    assert page.entries[0].sequence == tail.start + 1


def test_a_page_has_a_limit_in_bytes_but_one_event() -> None:
    """However large it is, it gets out."""
    large = [entry(n, size=PAGE_BYTES * 2) for n in (1, 2)]
    assert take_page(large, 10) == (large[:1], True)
    small = [entry(n, size=PAGE_BYTES // 4) for n in range(1, 7)]
    assert take_page(small, 10) == (small[:4], True)
    assert take_page(small[:3], 10) == (small[:3], False)
    assert take_page(small[:3], 3) == (small[:3], True)
