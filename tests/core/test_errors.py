"""One table gives every error its status."""

import pytest

from blog.core import errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("x"), 404),
        (errors.Invalid("x"), 422),
        (errors.Unavailable("x"), 503),
        (errors.Misdirected("x"), 421),
        (errors.BlogError("x"), 500),
        (ValueError("x"), 500),
        (type("Special", (errors.Conflict,), {})("x"), 409),
    ],
)
def test_status_of(error: Exception, status: int) -> None:
    """The nearest class in the table decides; what is not in it is ours, 500."""
    assert errors.status_of(error) == status
