"""Where the instances of a service are: first those that run here, then those that a registry knows."""

import json
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from blog.core.errors import SettingsError
from blog.core.http_client import detail_of, read_response
from blog.core.instance import Instance, State
from blog.core.settings import Settings
from blog.lifecycle.local_instances import running
from blog.master.resume import Record


class Located(NamedTuple):
    """An instance and where it is dialled from here."""

    id: str
    url: str


async def instances_of(service: str, http: aiohttp.ClientSession, settings: Settings) -> list[Located]:
    """List the instances of `service`, those of this machine first; the list may be empty.

    `http` sends the token of this blog. Raises SettingsError when a registry refuses to answer.
    """
    here = [
        Located(item.id, f"http://{item.own_address}")
        for item in running(str(settings.data_dir))
        if item.service == service
    ]
    known = {item.id for item in here}
    return here + [item for item in await _registered(service, http, settings) if item.id not in known]


def registries(settings: Settings) -> tuple[str, ...]:
    """Return where the registries are."""
    # of containers of ours that is known, whatever the environment says
    record = Record.read(settings.data_dir)
    return settings.registry if record is None else (record.registry_url,)


async def _registered(service: str, http: aiohttp.ClientSession, settings: Settings) -> list[Located]:
    """Ask one registry after the other until one knows an instance that serves, the ready ones first."""
    for registry in registries(settings):
        try:
            async with http.get(f"{registry}/v1/services/{service}") as answer:
                body = await read_response(answer)
        except (aiohttp.ClientError, TimeoutError):
            continue
        if answer.status != HTTPStatus.OK:
            raise SettingsError(f"The registry at {answer.url.authority}: {why(answer.status, body)}")
        rows = [Instance.model_validate(row) for row in json.loads(body)]
        rows.sort(key=lambda row: row.state is not State.READY)
        if found := [Located(row.id, f"http://{row.address}") for row in rows if row.is_serving()]:
            return found
    return []


def why(status: int, body: bytes) -> str:
    """Return what a problem says (RFC 9457)."""
    return detail_of(body) or f"it answered {status}"
