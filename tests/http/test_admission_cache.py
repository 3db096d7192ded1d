"""What is cached, and what is not."""

from blog.http.admission_cache import AdmissionCache
from blog.http.limits import CACHE_KEY_LIMIT


def test_what_came_once_is_not_admitted() -> None:
    """Nor what is very long, however often it comes."""
    cache: AdmissionCache[int] = AdmissionCache()
    assert not cache.admit(b"a")
    assert cache.admit(b"a")
    long = b"x" * (CACHE_KEY_LIMIT + 1)
    assert not cache.admit(long)
    assert not cache.admit(long)


def test_what_is_used_stays() -> None:
    """Of the rest there are never more than two generations."""
    cache: AdmissionCache[int] = AdmissionCache(limit=4)
    cache.put(b"used", -1)
    for number in range(100):
        cache.put(b"%d" % number, number)
        assert (cache.get(b"used") or cache.promote(b"used")) == -1
        assert repr(cache).endswith("of 4>")
        assert len(cache) <= 4
        assert len(cache._older) <= 4
    assert cache.get(b"1") is cache.promote(b"1") is None


def test_a_client_that_always_sends_something_new_fills_nothing() -> None:
    """A flood of new heads does not evict what is cached for others."""
    cache: AdmissionCache[int] = AdmissionCache(limit=4)
    cache.put(b"used", -1)
    assert not any(cache.admit(b"%d" % number) for number in range(100))
    assert len(cache) == 1
    assert len(cache._seen) <= 4
