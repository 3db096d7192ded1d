"""Numbers that others wrote as text: read in one place, because `isdigit` and `int` do not agree."""

MAX_DIGITS = 18
"""Digits of a whole number that fits into 64 bits."""


def whole(text: str, most: int = MAX_DIGITS) -> int | None:
    """Return a whole number of up to `most` ASCII digits; None for any other text.

    `int` accepts spaces, signs, underscores and the digits of every script, and raises for thousands of
    them; `isdigit` is true for a superscript.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= most
    return int(text) if is_number else None
