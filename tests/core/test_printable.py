"""Text of others is shown by a terminal, and not obeyed."""

import json
import os
import unicodedata

import pytest

from blog.core.printable import escaped, escaped_line, printable

JOINERS = "\u200c\u200d"
SEEN = {chr(code) for code in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)}
"""Format characters of Arabic, Syriac and Kaithi that are signs."""


def test_what_a_terminal_would_obey_is_left_out() -> None:
    """Escapes, line ends, marks that turn the direction of writing, and bytes that are not UTF-8."""
    assert printable("Buy\x1b[2J\x9b now\u202e\r\n\u2028 it") == "Buy [2J now it"
    assert printable(os.fsdecode(b"\xff-x")) == "-x"
    assert printable("é ß 漢") == "é ß 漢"
    assert printable("\x00\x07") == ""


def test_a_long_one_is_cut() -> None:
    """And says so."""
    assert printable("x" * 9, 9) == "x" * 9
    assert printable("x" * 10, 9) == "x" * 8 + "…"


@pytest.mark.parametrize("most", [0x110000])
def test_every_control_and_format_character_is_escaped(most: int) -> None:
    """By Unicode's own categories, the joiners that emoji need and signs that are seen excepted."""
    for character in map(chr, range(most)):
        is_unsafe = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        is_kept = character in JOINERS or character in SEEN or character in "\n\t"
        if is_unsafe and not is_kept:
            assert escaped(character).isascii(), hex(ord(character))
            assert escaped(character).isprintable(), hex(ord(character))
        elif character.isprintable() or is_kept:
            assert escaped(character) == character, hex(ord(character))


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J",
        "\x9b31m",
        "\x7f",
        "a\rb",
        "\u202e\u2066\u061c",
        "\u2028",
        "\ud800",
        "\U000e0041",
        "é 👩‍💻",
    ],
)
def test_an_escape_is_the_same_in_json(text: str) -> None:
    """What programs read has the same data."""
    written = escaped(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(written) == {"text": text}
    assert escaped(written) == written


def test_lines_of_others_are_no_lines() -> None:
    """Where one line is printed, what others wrote does not begin another."""
    assert escaped_line("a\nblog: all is well\r\tb") == "a\\nblog: all is well\\r\tb"
    assert escaped("a\nb\r\tc") == "a\nb\\r\tc"
