"""Commands to a blog that runs: they speak to its control socket."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from blog.cli.rows import show_rows, wide_console
from blog.core.errors import SettingsError
from blog.core.settings import Settings, load
from blog.master.control import short
from blog.master.desired import parse
from blog.master.resume import Record

_COLUMNS = ("name", "state", "address", "uptime_s", "in_flight", "restarts", "id")
_OK = 300


def show_instances(*, as_json: bool) -> None:
    """Print a row per instance."""
    rows = asyncio.run(instances(load(Settings).data_dir))
    show_rows(rows, _COLUMNS, as_json=as_json)
    if as_json:
        return
    console = wide_console()
    for row in rows:
        for line in row.get("last_lines", ()):
            console.print(f"{row['name']} | {line}")


def change_scale(words: tuple[str, ...]) -> None:
    """Ask for another number of copies."""
    asyncio.run(call("PUT", "/scale", json=parse(words)))


def show_logs(services: tuple[str, ...], *, follow: bool) -> None:
    """Print log lines as they come."""
    asyncio.run(_print_logs(services, follow=follow))


async def instances(data_dir: Path) -> list[dict[str, Any]]:
    """Return the rows of `blog ps`. Raises SettingsError when no blog runs."""
    async with _connected(data_dir) as http, http.get("http://blog/instances") as answer:
        rows: list[dict[str, Any]] = await answer.json()
        return rows


async def call(method: str, path: str, **options: Any) -> None:
    """Ask a running blog to do something. Raises SettingsError when none runs, or it says no."""
    data_dir = load(Settings).data_dir
    async with (
        _connected(data_dir) as http,
        http.request(method, f"http://blog{path}", **options) as answer,
    ):
        if answer.status >= _OK:
            raise SettingsError((await answer.json(content_type=None))["detail"])


async def _print_logs(services: tuple[str, ...], *, follow: bool) -> None:
    query = [("service", name) for name in services] + [("follow", str(follow).lower())]
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        _connected(load(Settings).data_dir) as http,
        http.get("http://blog/logs", params=query, timeout=timeout) as answer,
    ):
        async for chunk in answer.content.iter_any():
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()


def socket_path(data_dir: Path) -> Path:
    """Return where a running blog listens for commands."""
    return data_dir / "run" / "control.sock"


@asynccontextmanager
async def _connected(data_dir: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of the control socket. Raises SettingsError when nobody listens there."""
    nobody = _nobody(data_dir)
    path = socket_path(data_dir)
    if not path.exists():
        raise SettingsError(nobody)
    with short(path) as address:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(address)) as http:
            try:
                yield http
            except aiohttp.ClientConnectorError:
                raise SettingsError(nobody) from None


def _nobody(data_dir: Path) -> str:
    if Record.read(data_dir) is not None:
        return (
            f"The `blog up` of {data_dir} (BLOG_DATA_DIR) was killed, what it started may run still:"
            " `blog up` takes it over, `blog down` ends it."
        )
    return f"No blog runs in {data_dir} (BLOG_DATA_DIR); start one with `blog up`."
