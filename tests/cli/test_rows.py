"""Rows are shown as they are."""

import json

import pytest

from blog.cli.rows import show_rows

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
