"""Text from people: which characters it may have. Shared by the models of services' inputs."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

_LAYOUT = frozenset("\t\n\r")


def _printable(text: str, allowed: frozenset[str] = frozenset()) -> str:
    """Reject control characters (Unicode Cc, NUL among them) and lone surrogates."""
    for character in text:
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"contains the control character U+{ord(character):04X}")
    return text


def _line(text: str) -> str:
    return _printable(text.strip())


def _text(text: str) -> str:
    return _printable(text, _LAYOUT)


def _present(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Line = Annotated[str, AfterValidator(_line)]
"""One line, stripped; may be empty."""

Title = Annotated[str, AfterValidator(_line), AfterValidator(_present)]
"""One line, stripped, not empty."""

Text = Annotated[str, AfterValidator(_text)]
"""Text with line breaks; may be empty."""

Prose = Annotated[str, AfterValidator(_text), AfterValidator(_present)]
"""Text with line breaks, not blank."""
