"""`blog healthcheck`: do the instances that run here answer? Quick to start, and asks no registry."""

import http.client
from http import HTTPStatus
from typing import NamedTuple

import click

from blog.core.settings import Settings, load
from blog.core.web import INSTANCE_HEADER
from blog.lifecycle.run_file import RunFile, living

TIMEOUT = 2.0
"""Seconds that an instance has for its answer."""


class Health(NamedTuple):
    """What an instance said; `is_it` is false where another instance answered at its address."""

    says: str
    is_well: bool
    is_it: bool = True


def check(*, ready: bool) -> int:
    """Ask every instance that runs here; return 0 if all are well and there is one, else 1."""
    path = "/readyz" if ready else "/healthz"
    found = [
        (item, health) for item in living(load(Settings).data_dir) if (health := ask(item, path)).is_it
    ]
    for item, health in found:
        click.echo(f"{item.id} at {item.address}: {health.says}")
    if not found:
        click.echo("No instance runs here.")
    return 0 if found and all(health.is_well for _, health in found) else 1


def ask(item: RunFile, path: str) -> Health:
    """Ask one instance."""
    connection = http.client.HTTPConnection(item.own_address, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        says = answer.read(200).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return Health(f"does not answer: {error}", is_well=False)
    finally:
        connection.close()
    is_it = answer.getheader(INSTANCE_HEADER) == item.id
    return Health(says, is_well=answer.status == HTTPStatus.OK, is_it=is_it)
