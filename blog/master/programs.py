"""What can run, by name. Imports only what is asked for."""

from collections.abc import Awaitable, Callable
from functools import partial

from blog.core.settings import Settings
from blog.lifecycle.lifecycle import Lifecycle
from blog.runtime import catalog

Program = Callable[[Settings, Lifecycle], Awaitable[None]]

GATEWAY, BUS, REGISTRY = "gateway", "bus", "registry"
SINGLE = frozenset({GATEWAY, BUS, REGISTRY})
"""These run once: one door, one log."""


def names() -> list[str]:
    """List everything that `blog NAME` runs."""
    return [GATEWAY, BUS, REGISTRY, *catalog.names()]


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
            from blog.gateway.registry_only import run_registry  # noqa: PLC0415

            return run_registry
        case "bus":
            from blog.bus.service import run as run_bus  # noqa: PLC0415

            return partial(run_bus, adopt=adopt)
        case _:
            from blog.runtime.run import run as run_service  # noqa: PLC0415

            return partial(run_service, catalog.load(name))
