"""Rows are shown as they are."""

import json
from typing import Any

import pytest

from blog.cli.rows import number_of, show_rows

ROWS = [{"id": "a", "reason": 'answered 400: [/red] {"x": [1]}' + "y" * 200, "more": 1}]


def test_text_is_no_markup_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """What an instance answered may look like anything."""
    show_rows(ROWS, ("id", "reason"), as_json=False)
    shown = capsys.readouterr().out
    assert '[/red] {"x": [1]}' in shown
    assert shown.count("y") == 200


def test_scripts_get_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON."""
    show_rows(ROWS, ("id",), as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS


HOSTILE = "\x1b[2J\x9b\u202e\u2028\x7f\r\n[red]x[/nope][link=file:///etc]:smile:"


def test_what_others_wrote_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of it is obeyed, by the terminal or by rich."""
    show_rows([{"id": HOSTILE}], ("id",), as_json=False)
    _, line = capsys.readouterr().out.splitlines()
    shown = "\\u001b[2J\\u009b\\u202e\\u2028\\u007f\\r\\n[red]x[/nope][link=file:///etc]:smile:"
    assert line.strip() == shown


@pytest.mark.parametrize("odd", [None, 1, "x", ["id"]])
def test_a_row_that_is_none_hides_no_other(odd: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line on stderr says so; what a row of another version does not have is a dash."""
    show_rows([odd, {"more": 1}, {"id": "b"}], ("id", "more"), as_json=False)
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()] == [["id", "more"], ["-", "1"], ["b", "-"]]
    assert shown.err == "blog: not shown: row 1: it has no fields\n"


def test_no_list_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Another program has the address."""
    show_rows({"a": 1}, ("id",), as_json=False)
    assert capsys.readouterr().err == "blog: not shown: it is not a list\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (2.0, "2"), (2.5, "2.5"), ("n/a", "n/a"), ([], "[]"), (10**400, str(10**400))],
)
def test_a_number_may_be_anything(value: Any, shown: str) -> None:
    """It is shown all the same."""
    assert number_of({"x": value}, "x") == shown
    assert number_of({}, "x") == "-"
