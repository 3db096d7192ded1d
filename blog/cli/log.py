"""`blog log`: the log's file in the data directory, without the bus; and which log registries know."""

import asyncio
from pathlib import Path

import aiohttp

from blog.bus.log import maintenance
from blog.bus.service import log_path
from blog.cli.locate import local_instances_of, registries
from blog.core.net.http_client import client_session
from blog.core.output import say
from blog.core.settings import Settings, load
from blog.gateway.known_log import LOG_ID, write_log_id
from blog.master.ports import known_token
from blog.registry.client.log_adoption import AdoptionRefusedError, adopt_log

_WITH_REGISTRY = ("gateway", "registry")


def verify(file: Path | None) -> int:
    """Print the problems of a log; return 0 if there are none, else 1."""
    path = file or _path()
    return _show(path, maintenance.verify(path))


def back_up(file: Path) -> int:
    """Copy the log; return 0 if the copy is sound, else 1."""
    return _show(file, maintenance.backup(_path(), file))


def restore(file: Path) -> None:
    """Put a copy back in place."""
    path = _path()
    report = maintenance.restore(file, path)
    # registries in the same data directory are updated here; others have to be told
    for known in path.parent.parent.glob(f"*/{LOG_ID}"):
        write_log_id(known, report.identity)
    say(f"{path}: {report.events} events, now as log {report.identity}.")
    say(
        "A registry elsewhere, or one that runs, knows the log before; there: `blog log adopt"
        f" {report.identity}`."
    )


def adopt(identity: str) -> int:
    """Make the log `identity` the one that registries accept; return 0 if all of them do, else 1."""
    settings = load(Settings)
    token = settings.secret or known_token(settings.data_dir)
    return asyncio.run(_adopt(identity, _registries(settings, token), token))


def _registries(settings: Settings, token: str | None) -> list[str]:
    """Return the URLs of the registries: those of this machine, where no token is needed, come first.

    Without a token the others refuse.
    """
    here = [one.url for service in _WITH_REGISTRY for one in local_instances_of(service, settings)]
    if here and token is None:
        return here
    return list(dict.fromkeys((*here, *registries(settings))))


async def _adopt(identity: str, urls: list[str], token: str | None) -> int:
    code = 0
    async with client_session() as http:
        for url in urls:
            try:
                await adopt_log(http, url, identity, token)
            except (AdoptionRefusedError, aiohttp.ClientError, OSError) as error:
                say(f"{url}: {str(error) or 'no response in time'}", err=True)
                code = 1
            else:
                say(f"{url}: the log of this blog is {identity}.")
    return code


def _show(path: Path, report: maintenance.VerificationReport) -> int:
    for problem in report.problems:
        say(f"{path}: {problem}", err=True)
    sound = "broken" if report.problems else "sound"
    say(f"{path}: log {report.identity}, {report.events} events up to {report.head}: {sound}")
    return 1 if report.problems else 0


def _path() -> Path:
    return log_path(load(Settings))
