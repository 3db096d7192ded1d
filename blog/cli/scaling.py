"""`blog scale`, `blog schedule`, `blog rollout`: the number of replicas, and their replacement."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from blog.cli.control import ask, connected, is_running, read_result
from blog.cli.rows import show_rows
from blog.cli.up import FILE
from blog.core.output import say
from blog.core.settings import Settings, load
from blog.master.programs import defaults
from blog.master.scaling.loop import rows_of
from blog.master.scaling.scaler import Scaler
from blog.master.scaling.spec import AUTO, parse_counts, read
from blog.master.status import CANNOT_RUN

_POLL_INTERVAL = 0.2
_COLUMNS = ("time", "service", "replicas", "at", "timezone", "note")


def scale(words: tuple[str, ...], *, wait: bool, timeout: float) -> int:
    """Set the number of replicas; with `wait` return 1 if they are not ready within `timeout` seconds."""
    counts = {name: AUTO if count is None else count for name, count in parse_counts(words).items()}
    return asyncio.run(_scale(counts, timeout if wait else None))


def show_schedule(count: int, *, as_json: bool) -> None:
    """Print the next `count` changes of each schedule: of the running blog, else of blog.toml here."""
    if is_running():
        schedule = asyncio.run(ask("GET", f"/schedule?count={count}"))
    else:
        upcoming = Scaler(read(FILE, defaults())).upcoming(datetime.now(UTC), count)
        schedule = {"coming": rows_of(upcoming), "problem": ""}
    if schedule["problem"]:
        say(f"blog: not applied: {schedule['problem']}", err=True)
    if as_json:
        show_rows(schedule["coming"], (), as_json=True)
    elif schedule["coming"]:
        show_rows([_for_people(row) for row in schedule["coming"]], _COLUMNS, as_json=False)
    else:
        say(f"No service has a schedule in {FILE}.")


def roll_out(service: str, timeout: float) -> int:
    """Replace the replicas of a service one by one; return 1 if that fails."""
    return asyncio.run(_roll_out(service, timeout))


async def _scale(counts: Mapping[str, int | str], timeout: float | None) -> int:
    desired: dict[str, int] = await ask("PUT", "/scale", json=counts)
    for name, count in desired.items():
        say(f"{name}: {count} desired")
    return 0 if timeout is None else await _wait(tuple(desired), timeout)


async def _wait(names: Sequence[str], timeout: float) -> int:
    """Return 0 once exactly the desired replicas are ready; print the reason and return 1 if not."""
    deadline = time.monotonic() + timeout
    while True:
        rows = [row for row in (await ask("GET", "/services"))["services"] if row["service"] in names]
        late = [row for row in rows if not row["ready"] == row["wanted"] == row["copies"]]
        loops = [one for row in late if row["ready"] < row["wanted"] for one in row["crash_loops"]]
        if not late or loops or time.monotonic() > deadline:
            break
        await asyncio.sleep(_POLL_INTERVAL)
    for one in loops:
        problem = "cannot run" if one["state"] == CANNOT_RUN else "crashes again and again"
        say(f"{one['name']} {problem}; its last lines:", err=True)
        for line in one["last_lines"]:
            say(f"{one['name']} | {line}", err=True)
    for row in late:
        say(f"{row['service']}: {row['ready']} of {row['wanted']} ready", err=True)
    return 1 if late else 0


async def _roll_out(service: str, timeout: float) -> int:
    body = {"service": service, "timeout": timeout}
    endless = aiohttp.ClientTimeout(total=None)
    async with (
        connected(load(Settings).data_dir) as http,
        http.post("http://blog/rollouts", json=body, timeout=endless) as response,
    ):
        await read_result(response)
        failure = "the blog was stopped"
        async for line in response.content:
            progress = json.loads(line)
            if "said" in progress:
                say(progress["said"])
            failure = progress.get("failure", failure)
    if failure:
        say(f"{service} was not rolled out: {failure}; the old replicas keep running.", err=True)
        return 1
    say(f"{service} is rolled out")
    return 0


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    time = datetime.fromisoformat(row["time"])
    held = "" if row["held"] is None else f"held at {row['held']} by hand"
    return {**row, "time": f"{time:%a %Y-%m-%d %H:%M}", "note": held}
