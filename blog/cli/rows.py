"""Rows, as a table for people or as JSON for scripts. The only place of rich's tables and texts.

Cells hold what others wrote: each is one line, without markup and without what a terminal would obey.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blog.core.output import say, say_json
from blog.core.printable import escaped_line
from blog.core.row_reader import fields, read_rows

UNKNOWN = "-"
"""Stands for what a row does not have."""
_WIDE = 250


class RowTable(Table):
    """A table without lines; its cells are texts of others."""

    def __init__(self, *columns: str, **options: Any) -> None:
        super().__init__(*columns, box=None, header_style="bold", **options)

    def add(self, *values: object) -> None:
        """Add a row."""
        self.add_row(*map(cell, values))


def cell(value: object) -> Text:
    """Return a value as one line of text, exactly as it is: no markup, no emoji by name."""
    return Text(escaped_line(str(value)).replace("\t", " "))


def show_rows(rows: object, columns: Sequence[str], *, as_json: bool) -> None:
    """Print a table of `columns`; with `as_json` all keys, for scripts.

    A row that cannot be read is passed over, with a line on stderr that says so.
    """
    if as_json:
        say_json(rows)
        return
    table = RowTable(*columns)
    found = read_rows(rows, fields)
    for row in found.rows:
        table.add(*(row.get(column, UNKNOWN) for column in columns))
    wide_console().print(table)
    say_passed_over(found.passed_over)


def say_passed_over(lines: object) -> None:
    """Say on stderr which rows are not shown, and why; `lines` may be of another version."""
    for line in lines if isinstance(lines, list) else ():
        say(f"blog: not shown: {line}", err=True)


def wide_console() -> Console:
    """Return a console, wide enough to cut nothing off if the output is not a terminal."""
    console = plain_console(soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def plain_console(**options: Any) -> Console:
    """Return a console that takes text as it is: no markup, no emoji by name, no colours for numbers."""
    return Console(highlight=False, markup=False, emoji=False, **options)


def text_of(row: Mapping[str, Any], name: str) -> str:
    """Return a field of a row as text; UNKNOWN if the row, of another version, does not have it."""
    value = row.get(name)
    return UNKNOWN if value is None else str(value)


def number_of(row: Mapping[str, Any], name: str) -> str:
    """Return a number of a row without a trailing .0; UNKNOWN if it is not known."""
    value = row.get(name)
    try:
        return UNKNOWN if value is None else f"{value:g}"
    except (TypeError, ValueError, OverflowError):
        return str(value)
