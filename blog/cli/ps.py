"""`blog ps`: what runs, how many replicas of each service and why; once, or again and again."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.live import Live

from blog.cli.control import ask, instances
from blog.cli.rows import (
    UNKNOWN,
    RowTable,
    cell,
    number_of,
    plain_console,
    say_passed_over,
    show_rows,
    text_of,
    wide_console,
)
from blog.core.settings import Settings, load

_REFRESH_INTERVAL = 1.0
_WIDE = 100  # columns of a terminal that allow wider gaps
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_RIGHT = frozenset({"ready", "flight", "req/s", "p99 ms", "lag", "since", "restarts"})


def show(*, as_json: bool, watch: bool) -> None:
    """Print the tables; with `watch` refresh them until Ctrl-C."""
    if as_json:
        rows, services = asyncio.run(_read())
        show_rows(rows, (), as_json=True)
        say_passed_over(services.get("passed_over"))
    elif watch:
        _watch()
    else:
        console = wide_console()
        console.print(_screen(*asyncio.run(_read()), console.width))


def _watch() -> None:
    console = plain_console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_screen(*asyncio.run(_read()), console.width), refresh=True)
            time.sleep(_REFRESH_INTERVAL)


async def _read() -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the rows of the instances, and those of the services."""
    return await instances(load(Settings).data_dir), await ask("GET", "/services")


def _screen(rows: Sequence[Mapping[str, Any]], services: Mapping[str, Any], width: int) -> Group:
    """Lay out both tables, the last lines of failing replicas, what is not shown or not applied."""
    lines = [f"{text_of(row, 'name')} | {line}" for row in rows for line in row.get("last_lines", ())]
    lines += [f"not shown: {line}" for line in services.get("passed_over", ())]
    lines += [f"not applied: {services['problem']}"] if services["problem"] else []
    gap = 2 if width >= _WIDE else 1
    tables = _services(services["services"], gap), cell(""), _instances(rows, gap)
    return Group(*tables, *map(cell, lines))


def _services(rows: Sequence[Mapping[str, Any]], gap: int) -> RowTable:
    table = _table(gap, "service", "ready", "flight", "req/s", "p99 ms", "lag", "why")
    for row in rows:
        table.add(
            text_of(row, "service"),
            f"{text_of(row, 'ready')}/{text_of(row, 'wanted')}",
            *(number_of(row, name) for name in ("in_flight", "requests_s", "p99_ms", "waiting")),
            text_of(row, "why"),
        )
    return table


def _instances(rows: Sequence[Mapping[str, Any]], gap: int) -> RowTable:
    table = _table(gap, "instance", "state", "since", "address", "version", "flight", "lag", "restarts")
    for row in rows:
        table.add(
            row.get("name") or _short(row),
            text_of(row, "state"),
            age(row.get("since_s")),
            text_of(row, "address"),
            text_of(row, "version"),
            *(number_of(row, name) for name in ("in_flight", "behind", "restarts")),
        )
    return table


def _table(gap: int, *columns: str) -> RowTable:
    table = RowTable(padding=(0, gap, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in _RIGHT else "left", overflow="fold")
    return table


def _short(row: Mapping[str, Any]) -> str:
    """Return a short name for an instance that this master did not start."""
    return f"{text_of(row, 'service')}…{text_of(row, 'id')[-6:]}"


def age(seconds: object) -> str:
    """Return seconds in the largest unit that fits: 90 → 1m; a dash if they are not known."""
    if not isinstance(seconds, int):
        return UNKNOWN
    unit, name = next(((unit, name) for unit, name in _UNITS if seconds >= unit), (1, "s"))
    return f"{seconds // unit}{name}"
