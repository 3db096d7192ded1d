"""How many writes a client may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.gateway.edge.rate_limit import SAFE, RateLimiter, network_of, spend
from blog.gateway.edge.token_buckets import TokenBuckets, shared_memory

MOMENTS = st.lists(st.floats(min_value=0, max_value=2), max_size=60)


def test_a_client_may_write_in_bursts_and_then_at_its_rate() -> None:
    """Each by its own; who waits as long as it is told may write."""
    limiter = RateLimiter(2.0, 3)
    assert [limiter.acquire("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.acquire("a", 0.0) == 0.5
    assert limiter.acquire("b", 0.0) == 0.0
    assert limiter.acquire("a", 0.25) == 0.25
    assert limiter.acquire("a", 0.5) == 0.0
    assert limiter.acquire("a", 0.5) > 0.0


def test_only_those_who_wrote_lately_are_remembered() -> None:
    """A full bucket is the same as none."""
    limiter = RateLimiter(1.0, 10)
    for client in range(50):
        limiter.acquire(f"10.0.0.{client}", 0.0)
    limiter.acquire("other", 10.0)
    assert repr(limiter) == "<RateLimiter: 1/s, 10 at once, 1 clients>"


@given(pauses=MOMENTS, rate=st.sampled_from([0.001, 0.3, 10.0, 1e6]), burst=st.integers(1, 7))
def test_never_more_than_the_burst_and_what_comes_back(
    pauses: list[float], rate: float, burst: int
) -> None:
    """From any write to any later one; and who waits as long as it is told is let in."""
    with shared_memory() as memory:
        by_turns = [RateLimiter(rate, burst, TokenBuckets(memory)) for _ in range(2)]  # as two workers
        now, taken = 1e6, list[float]()
        for number, pause in enumerate(pauses):
            now += pause
            wait = by_turns[number % 2].acquire("a", now)
            if wait:
                assert wait <= 1 / rate + 1e-6
                now += wait
                assert by_turns[0].acquire("a", now) == 0.0
            taken.append(now)
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - began + 1e-6) + 1e-6


@pytest.mark.parametrize(
    ("until", "now", "expected"),
    [
        (0.0, 100.0, (101.0, 0.0)),
        (102.0, 100.0, (103.0, 0.0)),
        (102.5, 100.0, (102.5, 0.5)),
        (103.0, 100.0, (103.0, 1.0)),
        (1e300, 100.0, (103.0, 1.0)),
        (-1e300, 100.0, (101.0, 0.0)),
    ],
)
def test_one_time_says_how_full_a_bucket_is(
    until: float, now: float, expected: tuple[float, float]
) -> None:
    """Three tokens, one back each second; what cannot be is an empty bucket, never a longer wait."""
    assert spend(until, now, 1.0, 3.0) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", network_of("2001:db8:1:2::9")),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("fe80::1%eth0", network_of("fe80::2")),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, expected: str) -> None:
    """Within a /64 everybody has as many addresses as it likes; what is IPv4 inside is that client."""
    assert network_of(address) == expected
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")


def test_two_limits_in_one_table_are_two() -> None:
    """Each has its own name there."""
    table = TokenBuckets()
    assert RateLimiter(1.0, 1, table).acquire("a", 0.0) == 0.0
    assert RateLimiter(1.0, 1, table, name="other ").acquire("a", 0.0) == 0.0
    assert RateLimiter(1.0, 1, table).acquire("a", 0.0) == 1.0


def test_what_writes_nothing_is_free() -> None:
    """The safe methods of RFC 9110; no other."""
    assert {b"GET", b"HEAD", b"OPTIONS", b"TRACE"} == SAFE
