"""Commands to a running blog, through its control socket."""

import asyncio
import codecs
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from blog.core.errors import SettingsError
from blog.core.files.lock import is_locked
from blog.core.net.http_client import client_session, read_json
from blog.core.output import pass_on
from blog.core.settings import Settings, load
from blog.master.control import short_name
from blog.master.recovery import RecoveryRecord
from blog.master.up import LOCK


def show_logs(services: tuple[str, ...], *, follow: bool) -> None:
    """Print log lines as they come."""
    asyncio.run(_print_logs(services, follow=follow))


async def instances(data_dir: Path) -> list[dict[str, Any]]:
    """Return the rows of `blog ps`. Raises SettingsError when no blog runs."""
    async with connected(data_dir) as http, http.get("http://blog/instances") as response:
        rows: list[dict[str, Any]] = await read_result(response)
        return rows


async def ask(method: str, path: str, **options: Any) -> Any:
    """Return the response of the running blog. Raises SettingsError when none runs, or it refuses."""
    async with (
        connected(load(Settings).data_dir) as http,
        http.request(method, f"http://blog{path}", **options) as response,
    ):
        return await read_result(response)


async def read_result(response: aiohttp.ClientResponse) -> Any:
    """Return the JSON of a response, None for a stream. Raises SettingsError with a problem's detail."""
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise SettingsError((await read_json(response))["detail"])
    return await read_json(response) if response.content_type == "application/json" else None


async def _print_logs(services: tuple[str, ...], *, follow: bool) -> None:
    query = [("service", name) for name in services] + [("follow", str(follow).lower())]
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        connected(load(Settings).data_dir) as http,
        http.get("http://blog/logs", params=query, timeout=timeout) as response,
    ):
        # a character may be cut in two; bytes that are not UTF-8 are shown as well
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        try:
            async for chunk in response.content.iter_any():
                pass_on(decoder.decode(chunk))
        finally:  # what ends in the middle of a character is shown as far as it came
            pass_on(decoder.decode(b"", final=True))


def socket_path(data_dir: Path) -> Path:
    """Return where a running blog listens for commands."""
    return data_dir / "run" / "control.sock"


def is_running() -> bool:
    """Return whether a blog runs in the data directory."""
    return is_locked(load(Settings).data_dir / "run" / LOCK)


@asynccontextmanager
async def connected(data_dir: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of the control socket. Raises SettingsError when no blog listens there."""
    not_running = _not_running(data_dir)
    path = socket_path(data_dir)
    if not path.exists():
        raise SettingsError(not_running)
    with short_name(path) as address:
        async with client_session(connector=aiohttp.UnixConnector(address)) as http:
            try:
                yield http
            except aiohttp.ClientConnectorError:
                raise SettingsError(not_running) from None


def _not_running(data_dir: Path) -> str:
    if RecoveryRecord.read(data_dir) is not None:
        return (
            f"The `blog up` of {data_dir} (BLOG_DATA_DIR) was killed; its replicas may still run:"
            " `blog up` adopts them, `blog down` stops them."
        )
    return f"No blog runs in {data_dir} (BLOG_DATA_DIR); start one with `blog up`."
