"""What may be sent again, and how often."""

import pytest
from multidict import CIMultiDict

from blog.gateway.retry import RetryBudget, is_repeatable


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, True),
        ("HEAD", {}, True),
        ("OPTIONS", {}, True),
        ("PUT", {}, True),
        ("DELETE", {}, True),
        ("POST", {}, False),
        ("PATCH", {}, False),
        ("POST", {"idempotency-key": "k"}, True),
    ],
)
def test_only_what_is_the_same_done_twice_may_be_repeated(
    method: str,
    headers: dict[str, str],
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """By method, or because the client says so with a key."""
    assert is_repeatable(method, CIMultiDict(headers)) is expected


def spent(budget: RetryBudget, now: float) -> int:
    """Take all retries there are."""
    count = 0
    while budget.take(now):
        count += 1
    return count


def test_the_budget_is_ten_per_second_and_a_fifth_of_the_requests() -> None:
    """Saved up for ten seconds at most."""
    budget = RetryBudget(0.0)
    assert spent(budget, 0.0) == 100
    assert spent(budget, 1.0) == 10
    for _ in range(26):
        budget.request(1.0)
    assert spent(budget, 1.0) == 5
    assert spent(budget, 1000.0) == 100
