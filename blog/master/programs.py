"""What can run, by name. Imports only what is asked for."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from blog.runtime import catalog

if TYPE_CHECKING:  # heavy; listing does without
    from blog.core.settings import Settings
    from blog.lifecycle.lifecycle import Lifecycle

Program: TypeAlias = "Callable[[Settings, Lifecycle], Awaitable[None]]"

GATEWAY, BUS, REGISTRY = "gateway", "bus", "registry"
SINGLE = frozenset({GATEWAY, BUS, REGISTRY})
"""These run once: one door, one log."""
COMMANDS = frozenset(
    {
        *("dead-letters", "down", "events", "healthcheck", "log", "logs"),
        *("ps", "rollout", "scale", "schedule", "settings", "up"),
    }
)
"""What `blog` does itself: no service can be called that."""


def names() -> list[str]:
    """List everything that `blog NAME` runs."""
    services = (name for name in catalog.names() if name not in SINGLE | COMMANDS)
    return [GATEWAY, BUS, REGISTRY, *services]


def ignored() -> dict[str, str]:
    """Return the folders that look like a service and are none, and why."""
    taken = (folder for folder in catalog.folders() if folder.name in SINGLE | COMMANDS)
    return catalog.ignored() | {str(folder): "`blog` has this name already" for folder in taken}


def defaults() -> dict[str, int]:
    """Return how many of each run when nobody says otherwise: one; the registry is in the gateway."""
    return {name: 1 for name in names() if name != REGISTRY}


def program(name: str, *, adopt: bool = False) -> Program:
    """Return the program `name`; `adopt` is the bus's. Raises SettingsError for an unknown one."""
    match name:
        case "gateway":
            from blog.gateway.service import run  # noqa: PLC0415 - only what is asked for

            return run
        case "registry":
            from blog.gateway.registry_main import run_registry  # noqa: PLC0415

            return run_registry
        case "bus":
            from blog.bus.service import run as run_bus  # noqa: PLC0415

            return partial(run_bus, adopt=adopt)
        case _:
            from blog.runtime.run import run as run_service  # noqa: PLC0415

            return partial(run_service, catalog.load(name))
