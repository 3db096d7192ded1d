"""What can run, and how many replicas of it."""

import pytest

from blog.core.errors import SettingsError
from blog.master.programs import check_counts

KNOWN = ("gateway", "bus", "posts", "comments")


@pytest.mark.parametrize(
    "counts",
    [
        {"coments": 1},
        {"coments": None},
        {"bus": 2},
        {"gateway": 0},
        {"comments": 101},
        {"comments": -1},
        {"comments": 10**18},
    ],
)
def test_numbers_that_are_not_possible(counts: dict[str, int | None]) -> None:
    """Unknown services, a second log or public port, absurd numbers."""
    with pytest.raises(SettingsError):
        check_counts(counts, KNOWN)


def test_numbers_that_are_possible() -> None:
    """No replicas, no number, and one bus."""
    counts = {"comments": 0, "posts": None, "bus": 1}
    assert check_counts(counts, KNOWN) == counts
