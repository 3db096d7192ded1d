"""Known log: the identity of the blog's log, kept over restarts next to the registry that knows it."""

import os
from collections.abc import Callable
from pathlib import Path

from blog.core.files.data_dir import unusable
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.gateway.known_services import SERVICES, recall_services, remember_services_at
from blog.lifecycle.lifecycle import Lifecycle
from blog.registry.server.service import Registry

LOG_ID = "log-id"
"""In the folder of the process that has the registry."""

_NEXT = "let this user write there; until then the gateway takes any log for its own after a restart"

log = get_logger()


def registry_of(name: str, settings: Settings, lifecycle: Lifecycle) -> Registry:
    """Make the registry that lives in the process `name`, with what was known there before."""
    path = settings.data_dir / name / LOG_ID
    services = settings.data_dir / name / SERVICES
    return Registry(
        clock=lifecycle.clock,
        token=settings.secret,
        known_log=recall(path),
        remember_log=_remember_if_possible(path),
        known_services=recall_services(services),
        remember_services=remember_services_at(services),
    )


def recall(path: Path) -> str | None:
    """Read the identity at `path`, in a folder of the data directory; None when there is none yet.

    Raises SettingsError when it is there and cannot be read: any other log would be taken for ours.
    """
    try:
        return path.read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unusable(path.parent.parent, path, error) from None


def remember_at(path: Path) -> Callable[[str], None]:
    """Return what writes an identity to `path`: it is there whole, or not at all. Raises OSError."""

    def remember(identity: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(identity + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    return remember


def _remember_if_possible(path: Path) -> Callable[[str], None]:
    """Return what writes an identity to `path`. Where it cannot, the registry knows it until it ends."""
    remember = remember_at(path)

    def try_to(identity: str) -> None:
        try:
            remember(identity)
        except OSError as error:
            log.warning("known_log.not_kept", path=str(path), why=str(error), next=_NEXT)

    return try_to
