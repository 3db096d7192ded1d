"""Locate the instances of a service: first those that run here, then those that a registry knows."""

from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from blog.core import tolerant
from blog.core.errors import SettingsError
from blog.core.instance import Instance, State
from blog.core.net.http_client import detail_of, read_response
from blog.core.printable import printable
from blog.core.row_reader import read_rows
from blog.core.settings import Settings
from blog.lifecycle.local_instances import running
from blog.master.recovery import RecoveryRecord

_TIMEOUT = aiohttp.ClientTimeout(total=3)
_SHOWN = 400


class LocatedInstance(NamedTuple):
    """An instance, and its URL as seen from here."""

    id: str
    url: str


async def instances_of(
    service: str, http: aiohttp.ClientSession, settings: Settings
) -> list[LocatedInstance]:
    """List the instances of `service`, those of this machine first; the list may be empty.

    `http` sends the token of this blog. Raises SettingsError if none runs here and a registry refuses.
    """
    here = local_instances_of(service, settings)
    try:
        elsewhere = await _registered(service, http, settings)
    except SettingsError:
        if not here:
            raise
        return here
    known = {item.id for item in here}
    return here + [item for item in elsewhere if item.id not in known]


def local_instances_of(service: str, settings: Settings) -> list[LocatedInstance]:
    """List the instances of `service` that run on this machine."""
    return [
        LocatedInstance(item.id, f"http://{item.own_address}")
        for item in running(str(settings.data_dir))
        if item.service == service
    ]


def registries(settings: Settings) -> tuple[str, ...]:
    """Return the URLs of the registries."""
    # a blog that runs here has a registry of its own, whatever the environment sets
    record = RecoveryRecord.read(settings.data_dir)
    return settings.registry if record is None else (record.registry_url,)


async def _registered(
    service: str, http: aiohttp.ClientSession, settings: Settings
) -> list[LocatedInstance]:
    """Ask one registry after the other until one knows serving instances; the ready ones come first.

    Raises SettingsError if none does, and the response of one was not a list of instances.
    """
    refusal = ""
    for registry in registries(settings):
        try:
            async with http.get(f"{registry}/v1/services/{service}", timeout=_TIMEOUT) as response:
                body = await read_response(response)
        except (aiohttp.ClientError, TimeoutError, OSError):
            continue
        try:
            found = _serving(response.status, body)
        except ValueError as error:
            refusal = refusal or f"The registry at {response.url.authority}: {error}"
            continue
        if found:
            return found
    if refusal:
        raise SettingsError(refusal)
    return []


def _serving(status: int, body: bytes) -> list[LocatedInstance]:
    """List the serving instances of a response. Raises ValueError that says what is wrong with it."""
    if status != HTTPStatus.OK:
        raise ValueError(problem_detail(status, body))
    rows = _rows(body)
    rows.sort(key=lambda row: row.state is not State.READY)
    return [LocatedInstance(row.id, f"http://{row.address}") for row in rows if row.is_serving()]


def _rows(body: bytes) -> list[Instance]:
    """Return the rows that can be read. Raises ValueError for what is not a list of instances."""
    try:
        listed = tolerant.parse(body)
    except ValueError:
        listed = None
    rows, passed_over = read_rows(listed, lambda row: Instance.read(row).required())
    if rows or not passed_over:
        return rows
    raise ValueError(
        "its response is not a list of instances; set BLOG_REGISTRY to the URL of a registry."
    )


def problem_detail(status: int, body: bytes) -> str:
    """Return the detail of a problem (RFC 9457), in one printable line."""
    return printable(detail_of(body), _SHOWN) or f"it responded with {status}"
