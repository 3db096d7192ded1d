"""Rows, as a table for people or as JSON for scripts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

_WIDE = 250


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a table of `columns`; with `as_json` all keys, for scripts."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    wide_console().print(table)


def wide_console() -> Console:
    """Return a console without markup, wide enough to cut nothing off if the output is not a terminal."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console
