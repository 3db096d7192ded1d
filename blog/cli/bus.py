"""Commands to the bus: events and dead letters. It is a bus that runs here, else the registry's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from blog.cli.locate import instances_of, local_instances_of, problem_detail, registries
from blog.cli.rows import show_rows
from blog.core.errors import SettingsError
from blog.core.net.http_client import client_session, parse_json, read_response
from blog.core.output import say, say_json, say_lines
from blog.core.printable import printable
from blog.core.settings import Settings, load
from blog.core.web import bearer
from blog.eventlog.wire import SERVICE
from blog.master.ports import known_token

_COLUMNS = ("id", "type", "key", "attempts", "parked", "reason")
_LINE_BUFFER = 1 << 20
_THROUGH = b'{"through"'
_SHOWN = 100


def show_events(after: int, types: tuple[str, ...], key: str | None, *, follow: bool) -> None:
    """Print a line per event."""
    asyncio.run(_print_events(after, types, key, follow=follow))


def show_letters(*, as_json: bool) -> None:
    """Print a row per dead letter."""
    show_rows(asyncio.run(_call("GET", "/dead-letters")), _COLUMNS, as_json=as_json)


def show_letter(letter: str) -> None:
    """Print one with its event."""
    say_json(asyncio.run(_call("GET", f"/dead-letters/{letter}")), indent=2)


def redrive(letters: tuple[str, ...]) -> None:
    """Deliver dead letters again."""
    _decide(letters, "redrive")


def discard(letters: tuple[str, ...]) -> None:
    """Discard dead letters."""
    _decide(letters, "discard")


def _decide(letters: tuple[str, ...], decision: str) -> None:
    for letter in letters:
        asyncio.run(_call("POST", f"/dead-letters/{letter}/{decision}"))


async def _print_events(after: int, types: tuple[str, ...], key: str | None, *, follow: bool) -> None:
    """Read the stream up to the head as it is now, or for ever."""
    query = [("after", str(after)), ("follow", "true"), *(("type", name) for name in types)]
    if key is not None:
        query.append(("key", key))
    page: list[str] = []
    async with _bus() as (http, url):
        head = _sequence(await _read(await http.get(f"{url}/events/head")), "sequence", url)
        response = await http.get(
            f"{url}/events", params=query, timeout=aiohttp.ClientTimeout(total=None)
        )
        if response.status != HTTPStatus.OK:
            await _read(response)
        async for line in response.content:
            row = _object(line)
            if row is None:
                say(f"blog: not shown: {printable(_text(line), _SHOWN)} is not an event", err=True)
            elif not line.startswith(_THROUGH):
                page.append(_text(line))
            else:
                _print_page(page)
                if not follow and _sequence(row, "through", url) >= head:
                    break
    _print_page(page)


def _print_page(page: list[str]) -> None:
    """Print what was read, in one go: a log is long."""
    if page:
        say_lines("\n".join(page))
        page.clear()


def _object(line: bytes) -> dict[str, Any] | None:
    """Return a line of the stream as JSON; None if it is no object."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _text(line: bytes) -> str:
    return line.decode(errors="surrogateescape").rstrip("\r\n")


def _sequence(row: object, name: str, url: str) -> int:
    """Return a position in the log. Raises SettingsError if the response does not have it."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, int):
        raise SettingsError(f"The bus at {url}: its response has no {name}: another program or version.")
    return value


async def _call(method: str, path: str) -> Any:
    async with _bus() as (http, url):
        return await _read(await http.request(method, url + path))


async def _read(response: aiohttp.ClientResponse) -> Any:
    """Return the JSON of a response, None without a body. Raises SettingsError for a problem."""
    body = await read_response(response)
    problem = problem_detail(response.status, body)
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return parse_json(body) if body else None
        except ValueError:
            problem = "its response is not JSON: another program has its address"
    raise SettingsError(f"The bus at {response.url.authority}: {problem}")


@asynccontextmanager
async def _bus() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Yield a client and the URL of the bus. Raises SettingsError when no bus is found or responds."""
    settings = load(Settings)
    headers = bearer(settings.secret or known_token(settings.data_dir))
    async with client_session(headers=headers, read_bufsize=_LINE_BUFFER) as http:
        try:
            yield http, await _url(http, settings)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SettingsError(f"The bus does not respond: {str(error) or 'it took too long'}") from None


async def _url(http: aiohttp.ClientSession, settings: Settings) -> str:
    # a bus that runs here is used, whatever a registry says
    found = local_instances_of(SERVICE, settings) or await instances_of(SERVICE, http, settings)
    if found:
        return found[0].url
    raise SettingsError(
        f"No bus runs in {settings.data_dir} (BLOG_DATA_DIR), and no registry at"
        f" {', '.join(registries(settings))} (BLOG_REGISTRY) knows one."
    )
