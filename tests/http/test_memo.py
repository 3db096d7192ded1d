"""What is remembered, and what is not."""

from blog.http.limits import MEMO_SIZE
from blog.http.memo import AdmissionCache


def test_what_came_once_is_not_worth_keeping() -> None:
    """Nor what is very long, however often it comes."""
    memo: AdmissionCache[int] = AdmissionCache()
    assert not memo.sight(b"a")
    assert memo.sight(b"a")
    long = b"x" * (MEMO_SIZE + 1)
    assert not memo.sight(long)
    assert not memo.sight(long)


def test_what_is_used_stays() -> None:
    """Of the rest there are never more than two generations."""
    memo: AdmissionCache[int] = AdmissionCache(limit=4)
    memo.keep(b"used", -1)
    for number in range(100):
        memo.keep(b"%d" % number, number)
        assert (memo.get(b"used") or memo.recall(b"used")) == -1
        assert repr(memo).endswith("of 4>")
        assert len(memo) <= 4
        assert len(memo._older) <= 4
    assert memo.get(b"1") is memo.recall(b"1") is None


def test_who_always_says_something_new_fills_nothing() -> None:
    """A flood of new heads costs nobody else what is remembered for them."""
    memo: AdmissionCache[int] = AdmissionCache(limit=4)
    memo.keep(b"used", -1)
    assert not any(memo.sight(b"%d" % number) for number in range(100))
    assert len(memo) == 1
    assert len(memo._sighted) <= 4
