"""Text of others is one line that a terminal shows."""

import os

from blog.core.printable import printable


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
