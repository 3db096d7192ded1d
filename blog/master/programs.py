"""What can run, by name, and how many replicas of it. Imports only what is run."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from blog.core.errors import SettingsError
from blog.runtime import catalog

if TYPE_CHECKING:  # heavy; listing does without
    from blog.core.settings import Settings
    from blog.lifecycle.lifecycle import Lifecycle

Program: TypeAlias = "Callable[[Settings, Lifecycle], Awaitable[None]]"

GATEWAY, BUS, REGISTRY = "gateway", "bus", "registry"
SINGLETONS = frozenset({GATEWAY, BUS, REGISTRY})
"""These run once: one public port, one log, one registry."""
MAX_REPLICAS = 100
COMMANDS = frozenset(
    {
        *("dead-letters", "down", "events", "healthcheck", "log", "logs"),
        *("ps", "rollout", "scale", "schedule", "settings", "up"),
    }
)
"""What `blog` does itself: no service can be called that."""


def names() -> list[str]:
    """List everything that `blog NAME` runs."""
    services = (name for name in catalog.names() if name not in SINGLETONS | COMMANDS)
    return [GATEWAY, BUS, REGISTRY, *services]


def ignored() -> dict[str, str]:
    """Return the folders that look like a service and are not one, and why."""
    taken = (folder for folder in catalog.folders() if folder.name in SINGLETONS | COMMANDS)
    return catalog.ignored() | {str(folder): "`blog` has this name already" for folder in taken}


def defaults() -> dict[str, int]:
    """Return the number of replicas by default: one of each; the registry runs in the gateway."""
    return {name: 1 for name in names() if name != REGISTRY}


def check_counts(counts: Mapping[str, int | None], known: Iterable[str]) -> dict[str, int | None]:
    """Return the numbers of replicas (None: no number). Raises SettingsError if one is not possible."""
    for name, count in counts.items():
        check_known(name, known)
        if name in SINGLETONS and count not in (None, 1):
            raise SettingsError(f"{name} runs once, not {count} times.")
        if count is not None and not 0 <= count <= MAX_REPLICAS:
            raise SettingsError(f"{name}={count}: must be 0 to {MAX_REPLICAS} replicas.")
    return dict(counts)


def check_known(name: str, known: Iterable[str], where: str = "") -> None:
    """Raise SettingsError for an unknown service; `where` begins the message."""
    names = sorted(known)
    if name not in names:
        raise SettingsError(f"{where}There is no service {name!r}; there are: {', '.join(names)}.")


def program(name: str, *, adopt: bool = False) -> Program:
    """Return the program `name`; `adopt` is the bus's. Raises SettingsError for an unknown one."""
    match name:
        case "gateway":
            from blog.gateway.service import run  # noqa: PLC0415 - only what is run

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
