"""Commands to the bus: events, and those that never worked. A bus that runs here, else the registry's."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
import click

from blog.cli.locate import instances_of, local_instances_of, registries, why
from blog.cli.rows import show_rows
from blog.core.errors import SettingsError
from blog.core.net.http_client import client_session, parse_json, read_response
from blog.core.settings import Settings, load
from blog.core.web import bearer
from blog.eventlog.wire import SERVICE
from blog.master.ports import known_token

_COLUMNS = ("id", "type", "key", "attempts", "parked", "reason")
_LINE_BUFFER = 1 << 20


def show_events(after: int, types: tuple[str, ...], key: str | None, *, follow: bool) -> None:
    """Print a line per event."""
    asyncio.run(_print_events(after, types, key, follow=follow))


def show_letters(*, as_json: bool) -> None:
    """Print a row per dead letter."""
    show_rows(asyncio.run(_call("GET", "/dead-letters")), _COLUMNS, as_json=as_json)


def show_letter(letter: str) -> None:
    """Print one whole."""
    click.echo(json.dumps(asyncio.run(_call("GET", f"/dead-letters/{letter}")), indent=2))


def revive(letters: tuple[str, ...], verb: str) -> None:
    """Redrive or discard dead letters."""
    for letter in letters:
        asyncio.run(_call("POST", f"/dead-letters/{letter}/{verb}"))


async def _print_events(after: int, types: tuple[str, ...], key: str | None, *, follow: bool) -> None:
    """Read the stream up to the head as it is now, or for ever."""
    query = [("after", str(after)), ("follow", "true"), *(("type", name) for name in types)]
    if key is not None:
        query.append(("key", key))
    async with _bus() as (http, url):
        head = (await _answer(await http.get(f"{url}/events/head")))["sequence"]
        answer = await http.get(f"{url}/events", params=query, timeout=aiohttp.ClientTimeout(total=None))
        if answer.status != HTTPStatus.OK:
            await _answer(answer)
        async for line in answer.content:
            if not line.startswith(b'{"through"'):
                sys.stdout.buffer.write(line)
            elif not follow and json.loads(line)["through"] >= head:
                break
            else:
                sys.stdout.flush()
    sys.stdout.flush()


async def _call(method: str, path: str) -> Any:
    async with _bus() as (http, url):
        return await _answer(await http.request(method, url + path))


async def _answer(answer: aiohttp.ClientResponse) -> Any:
    """Return what was answered. Raises SettingsError with what a problem says."""
    body = await read_response(answer)
    says = why(answer.status, body)
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return parse_json(body) if body else None
        except ValueError:
            says = "its answer is not JSON: another program has its address"
    raise SettingsError(f"The bus at {answer.url.authority}: {says}")


@asynccontextmanager
async def _bus() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Give a client and the bus's URL. Raises SettingsError when there is none to ask."""
    settings = load(Settings)
    headers = bearer(settings.secret or known_token(settings.data_dir))
    async with client_session(headers=headers, read_bufsize=_LINE_BUFFER) as http:
        try:
            yield http, await _url(http, settings)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SettingsError(f"The bus does not answer: {str(error) or 'it took too long'}") from None


async def _url(http: aiohttp.ClientSession, settings: Settings) -> str:
    # one that runs here is the bus, whatever a registry says
    found = local_instances_of(SERVICE, settings) or await instances_of(SERVICE, http, settings)
    if found:
        return found[0].url
    raise SettingsError(
        f"No bus runs in {settings.data_dir} (BLOG_DATA_DIR), and no registry at"
        f" {', '.join(registries(settings))} (BLOG_REGISTRY) knows one."
    )
