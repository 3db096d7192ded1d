"""Text from people: printable, and stripped where it is one line."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from blog.core.text import Line, Prose, Text, Title


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        (Title, "  Hello ", "Hello"),
        (Line, "", ""),
        (Text, "", ""),
        (Prose, "two\nlines\t!", "two\nlines\t!"),
        (Prose, "日本語 🎉", "日本語 🎉"),
    ],
)
def test_kept(kind: Any, text: str, kept: str) -> None:
    """Good text comes through."""
    assert TypeAdapter(kind).validate_python(text) == kept


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Title, "   "),
        (Title, "a\nb"),
        (Line, "a\x00b"),
        (Text, "a\x00b"),
        (Prose, " \n "),
        (Prose, "bell\x07"),
        (Prose, "\ud800"),
    ],
)
def test_refused(kind: Any, text: str) -> None:
    """NUL, other control characters, lone surrogates and blanks are not."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)
