"""Where the instances of a service are: first those that run here, then those that a registry knows."""

from http import HTTPStatus
from typing import NamedTuple

import aiohttp
from pydantic import TypeAdapter

from blog.core.errors import SettingsError
from blog.core.instance import Instance, State
from blog.core.net.http_client import detail_of, parse_json, read_response
from blog.core.printable import printable
from blog.core.settings import Settings
from blog.lifecycle.local_instances import running
from blog.master.recovery import RecoveryRecord

_TIMEOUT = aiohttp.ClientTimeout(total=3)
_SHOWN = 400
_ROWS = TypeAdapter(list[Instance])


class LocatedInstance(NamedTuple):
    """An instance and where it is dialled from here."""

    id: str
    url: str


async def instances_of(
    service: str, http: aiohttp.ClientSession, settings: Settings
) -> list[LocatedInstance]:
    """List the instances of `service`, those of this machine first; the list may be empty.

    `http` sends the token of this blog. Where some run here, no registry has to answer; where none does,
    raises SettingsError when a registry refuses to.
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
    """Return where the registries are."""
    # of containers of ours that is known, whatever the environment says
    record = RecoveryRecord.read(settings.data_dir)
    return settings.registry if record is None else (record.registry_url,)


async def _registered(
    service: str, http: aiohttp.ClientSession, settings: Settings
) -> list[LocatedInstance]:
    """Ask one registry after the other until one knows an instance that serves, the ready ones first.

    Raises SettingsError when none does, and one of them has answered what is not a list of instances.
    """
    refusal = ""
    for registry in registries(settings):
        try:
            async with http.get(f"{registry}/v1/services/{service}", timeout=_TIMEOUT) as answer:
                body = await read_response(answer)
        except (aiohttp.ClientError, TimeoutError, OSError):
            continue
        try:
            found = _serving(answer.status, body)
        except ValueError as error:
            refusal = refusal or f"The registry at {answer.url.authority}: {error}"
            continue
        if found:
            return found
    if refusal:
        raise SettingsError(refusal)
    return []


def _serving(status: int, body: bytes) -> list[LocatedInstance]:
    """List the instances of an answer that serve. Raises ValueError with what is wrong with it."""
    if status != HTTPStatus.OK:
        raise ValueError(why(status, body))
    try:
        rows = _ROWS.validate_python(parse_json(body))
    except ValueError:
        raise ValueError(
            "its answer is no list of instances; set BLOG_REGISTRY to the address of a registry."
        ) from None
    rows.sort(key=lambda row: row.state is not State.READY)
    return [LocatedInstance(row.id, f"http://{row.address}") for row in rows if row.is_serving()]


def why(status: int, body: bytes) -> str:
    """Return what a problem says (RFC 9457), in one line that can be shown."""
    return printable(detail_of(body), _SHOWN) or f"it answered {status}"
