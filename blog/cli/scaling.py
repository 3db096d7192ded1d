"""`blog scale`, `blog schedule`, `blog rollout`: how many there should be, and that they are new."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import click

from blog.cli.control import answered, ask, connected, is_running
from blog.cli.rows import show_rows
from blog.cli.up import FILE
from blog.core.settings import Settings, load
from blog.master.programs import defaults
from blog.master.scaling.loop import rows_of
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.spec import AUTO, parse, read
from blog.master.status import CANNOT_RUN

_LOOK_EVERY = 0.2
_COLUMNS = ("time", "service", "replicas", "at", "timezone", "note")


def scale(words: tuple[str, ...], *, wait: bool, timeout: float) -> int:
    """Ask for another number of copies; with `wait` return 1 when it is not so within `timeout` s."""
    said = {name: AUTO if count is None else count for name, count in parse(words).items()}
    return asyncio.run(_scale(said, timeout if wait else None))


def show_schedule(count: int, *, as_json: bool) -> None:
    """Print the next `count` changes of each schedule: of the blog that runs, else of the file here."""
    if is_running():
        told = asyncio.run(ask("GET", f"/schedule?count={count}"))
    else:
        coming = Scaler(read(FILE, defaults())).coming(datetime.now(UTC), count)
        told = {"coming": rows_of(coming), "problem": ""}
    if told["problem"]:
        click.echo(f"blog: not taken up: {told['problem']}", err=True)
    if as_json:
        show_rows(told["coming"], (), as_json=True)
    elif told["coming"]:
        show_rows([_for_people(row) for row in told["coming"]], _COLUMNS, as_json=False)
    else:
        click.echo(f"No service has a schedule in {FILE}.")


def roll_out(service: str, timeout: float) -> int:
    """Replace the copies of a service one by one; return 1 when that failed."""
    return asyncio.run(_roll_out(service, timeout))


async def _scale(said: Mapping[str, int | str], timeout: float | None) -> int:
    counts: dict[str, int] = await ask("PUT", "/scale", json=said)
    for name, count in counts.items():
        click.echo(f"{name}: {count} wanted")
    return 0 if timeout is None else await _wait(tuple(counts), timeout)


async def _wait(names: Sequence[str], timeout: float) -> int:
    """Return 0 once there are as many ready as wanted and no others, 1 with the reason when not."""
    deadline = time.monotonic() + timeout
    while True:
        rows = [row for row in (await ask("GET", "/services"))["services"] if row["service"] in names]
        late = [row for row in rows if not row["ready"] == row["wanted"] == row["copies"]]
        loops = [one for row in late if row["ready"] < row["wanted"] for one in row["crash_loops"]]
        if not late or loops or time.monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_EVERY)
    for one in loops:
        problem = "cannot run" if one["state"] == CANNOT_RUN else "crashes again and again"
        click.echo(f"{one['name']} {problem}; its last lines:", err=True)
        for line in one["last_lines"]:
            click.echo(f"{one['name']} | {line}", err=True)
    for row in late:
        click.echo(f"{row['service']}: {row['ready']} of {row['wanted']} ready", err=True)
    return 1 if late else 0


async def _roll_out(service: str, timeout: float) -> int:
    body = {"service": service, "timeout": timeout}
    endless = aiohttp.ClientTimeout(total=None)
    async with (
        connected(load(Settings).data_dir) as http,
        http.post("http://blog/rollouts", json=body, timeout=endless) as answer,
    ):
        await answered(answer)
        failure = "the blog was stopped"
        async for line in answer.content:
            told = json.loads(line)
            if "said" in told:
                click.echo(told["said"])
            failure = told.get("failure", failure)
    if failure:
        click.echo(f"{service} was not rolled out: {failure}; the others go on.", err=True)
        return 1
    click.echo(f"{service} is rolled out")
    return 0


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    time = datetime.fromisoformat(row["time"])
    held = "" if row["held"] is None else f"held at {row['held']} by hand"
    return {**row, "time": f"{time:%a %Y-%m-%d %H:%M}", "note": held}
