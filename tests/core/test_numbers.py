"""Whole numbers as others write them."""

import pytest

from blog.core.numbers import whole


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_a_whole_number(text: str, value: int) -> None:
    """ASCII digits."""
    assert whole(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n/a",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1_0",
        "1e9",
        "1.0",
        "²",
        "١٢",
        "𝟏",
        "9" * 19,
        "9" * 5000,
        "\x001",
    ],
)
def test_any_other_text_is_none(text: str) -> None:
    """Also what `int` or `isdigit` would take, or choke on."""
    assert whole(text) is None
