"""Known log: the identity of the blog's log, kept over restarts next to the registry that knows it."""

import os
from collections.abc import Callable
from pathlib import Path

from blog.core.settings import Settings
from blog.gateway.known_services import SERVICES, recall_services, remember_services_at
from blog.lifecycle.lifecycle import Lifecycle
from blog.registry.service import Registry

LOG_ID = "log-id"
"""In the folder of the process that has the registry."""


def registry_of(name: str, settings: Settings, lifecycle: Lifecycle) -> Registry:
    """Make the registry that lives in the process `name`, with what was known there before."""
    path = settings.data_dir / name / LOG_ID
    services = settings.data_dir / name / SERVICES
    return Registry(
        clock=lifecycle.clock,
        token=settings.secret,
        known_log=recall(path),
        remember_log=remember_at(path),
        known_services=recall_services(services),
        remember_services=remember_services_at(services),
    )


def recall(path: Path) -> str | None:
    """Read the identity at `path`; None when there is none yet."""
    return path.read_text().strip() or None if path.exists() else None


def remember_at(path: Path) -> Callable[[str], None]:
    """Return what writes an identity to `path`: it is there whole, or not at all."""

    def remember(identity: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(identity + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    return remember
