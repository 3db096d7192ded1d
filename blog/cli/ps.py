"""`blog ps`: what runs, how many replicas of each service and why; once, or again and again."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from blog.cli.control import ask, instances
from blog.cli.rows import show_rows, wide_console
from blog.core.settings import Settings, load

_REFRESH_INTERVAL = 1.0
_WIDE = 100  # columns of a terminal that allow wider gaps
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_RIGHT = frozenset({"ready", "flight", "req/s", "p99 ms", "lag", "since", "restarts"})


def show(*, as_json: bool, watch: bool) -> None:
    """Print the tables; with `watch` refresh them until Ctrl-C."""
    if as_json:
        show_rows(asyncio.run(instances(load(Settings).data_dir)), (), as_json=True)
    elif watch:
        _watch()
    else:
        console = wide_console()
        console.print(_screen(*asyncio.run(_read()), console.width))


def _watch() -> None:
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_screen(*asyncio.run(_read()), console.width), refresh=True)
            time.sleep(_REFRESH_INTERVAL)


async def _read() -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the rows of the instances, and those of the services."""
    return await instances(load(Settings).data_dir), await ask("GET", "/services")


def _screen(rows: Sequence[Mapping[str, Any]], services: Mapping[str, Any], width: int) -> Group:
    """Lay out both tables, the last lines of failing replicas, and the problem of the file."""
    lines = [Text(f"{row['name']} | {line}") for row in rows for line in row.get("last_lines", ())]
    problem = [Text(f"not applied: {services['problem']}")] if services["problem"] else []
    gap = 2 if width >= _WIDE else 1
    return Group(_services(services["services"], gap), Text(), _instances(rows, gap), *lines, *problem)


def _services(rows: Sequence[Mapping[str, Any]], gap: int) -> Table:
    table = _table(gap, "service", "ready", "flight", "req/s", "p99 ms", "lag", "why")
    for row in rows:
        table.add_row(
            row["service"],
            f"{row['ready']}/{row['wanted']}",
            _number(row["in_flight"]),
            _number(row["requests_s"]),
            _number(row["p99_ms"]),
            _number(row["waiting"]),
            row["why"],
        )
    return table


def _instances(rows: Sequence[Mapping[str, Any]], gap: int) -> Table:
    table = _table(gap, "instance", "state", "since", "address", "version", "flight", "lag", "restarts")
    for row in rows:
        table.add_row(
            row["name"] or _short(row),
            row["state"],
            age(row["since_s"]),
            row["address"],
            row["version"],
            _number(row["in_flight"]),
            _number(row["behind"]),
            _number(row["restarts"]),
        )
    return table


def _table(gap: int, *columns: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, gap, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in _RIGHT else "left", overflow="fold")
    return table


def _short(row: Mapping[str, Any]) -> str:
    """Return a short name for an instance that this master did not start."""
    return f"{row['service']}…{row['id'][-6:]}"


def age(seconds: int) -> str:
    """Return seconds in the largest unit that fits: 90 → 1m."""
    unit, name = next(((unit, name) for unit, name in _UNITS if seconds >= unit), (1, "s"))
    return f"{seconds // unit}{name}"


def _number(value: float | None) -> str:
    """Return a number without a trailing .0; a dash if it is unknown."""
    return "-" if value is None else f"{value:g}"
