"""Commands to a blog that runs: they speak to its control socket."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from blog.core.errors import SettingsError
from blog.core.files.lock import is_locked
from blog.core.net.http_client import client_session, read_json
from blog.core.settings import Settings, load
from blog.master.control import short
from blog.master.recovery import RecoveryRecord
from blog.master.up import LOCK

_OK = 300


def show_logs(services: tuple[str, ...], *, follow: bool) -> None:
    """Print log lines as they come."""
    asyncio.run(_print_logs(services, follow=follow))


async def instances(data_dir: Path) -> list[dict[str, Any]]:
    """Return the rows of `blog ps`. Raises SettingsError when no blog runs."""
    async with connected(data_dir) as http, http.get("http://blog/instances") as answer:
        rows: list[dict[str, Any]] = await answered(answer)
        return rows


async def ask(method: str, path: str, **options: Any) -> Any:
    """Return what the running blog answers. Raises SettingsError when none runs, or it says no."""
    async with (
        connected(load(Settings).data_dir) as http,
        http.request(method, f"http://blog{path}", **options) as answer,
    ):
        return await answered(answer)


async def answered(answer: aiohttp.ClientResponse) -> Any:
    """Return the JSON of an answer; of one that goes on, nothing. Raises SettingsError for a problem."""
    if answer.status >= _OK:
        raise SettingsError((await read_json(answer))["detail"])
    return await read_json(answer) if answer.content_type == "application/json" else None


async def _print_logs(services: tuple[str, ...], *, follow: bool) -> None:
    query = [("service", name) for name in services] + [("follow", str(follow).lower())]
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        connected(load(Settings).data_dir) as http,
        http.get("http://blog/logs", params=query, timeout=timeout) as answer,
    ):
        async for chunk in answer.content.iter_any():
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()


def socket_path(data_dir: Path) -> Path:
    """Return where a running blog listens for commands."""
    return data_dir / "run" / "control.sock"


def is_running() -> bool:
    """Return whether a blog runs in the data directory."""
    return is_locked(load(Settings).data_dir / "run" / LOCK)


@asynccontextmanager
async def connected(data_dir: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of the control socket. Raises SettingsError when nobody listens there."""
    nobody = _nobody(data_dir)
    path = socket_path(data_dir)
    if not path.exists():
        raise SettingsError(nobody)
    with short(path) as address:
        async with client_session(connector=aiohttp.UnixConnector(address)) as http:
            try:
                yield http
            except aiohttp.ClientConnectorError:
                raise SettingsError(nobody) from None


def _nobody(data_dir: Path) -> str:
    if RecoveryRecord.read(data_dir) is not None:
        return (
            f"The `blog up` of {data_dir} (BLOG_DATA_DIR) was killed, what it started may run still:"
            " `blog up` takes it over, `blog down` ends it."
        )
    return f"No blog runs in {data_dir} (BLOG_DATA_DIR); start one with `blog up`."
