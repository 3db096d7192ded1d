"""Runtime: starts a replica, stops it, waits for its end and reads its last lines."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from blog.core.instance import Instance
from blog.core.settings import Settings
from blog.master.programs import BUS, GATEWAY

EXIT_CONFIG_ERROR = 2
"""Exit code of a program that reports why it cannot run: an invalid setting, file or service."""


class RunningReplica(Protocol):
    """A replica that was started."""

    @property
    def pid(self) -> int:
        """The process in which it runs; 0 if there is none."""
        ...

    def has_instance(self, instance: Instance) -> bool:
        """Return whether `instance` runs in this replica."""
        ...

    async def wait(self) -> int | None:
        """Wait until it has ended; return the exit code (negative: the signal), None if unknown."""
        ...

    async def stop(self) -> None:
        """Let it drain; kill it if that takes too long. Return when it has ended."""
        ...

    def last_lines(self) -> list[str]:
        """Return the last lines it logged."""
        ...


class AdoptedReplica(NamedTuple):
    """A replica that an earlier master started; `age` is in seconds."""

    service: str
    name: str
    age: float
    running: RunningReplica

    @property
    def number(self) -> int:
        """The 2 of `comments-2`."""
        return int(self.name.rpartition("-")[2])


class Runtime(Protocol):
    """A way to run replicas."""

    @property
    def adopted(self) -> Sequence[AdoptedReplica]:
        """The replicas that ran already when the runtime was opened."""
        ...

    async def start(self, service: str, name: str) -> RunningReplica:
        """Start one replica of `service`, called `name`; does not wait until it is ready.

        If it cannot be started, an `UnstartedReplica` is returned, which has ended and says why.
        """
        ...


class PersistentRuntime(Runtime, Protocol):
    """A runtime whose replicas outlive the master."""

    async def prepare(self, settings: Settings) -> None:
        """Set the settings of new replicas. Raises SettingsError if none could be started with them."""
        ...

    async def clear(self) -> None:
        """Remove what the runtime itself leaves, once every replica has ended. Raises SettingsError."""
        ...


class UnstartedReplica:
    """A replica that could not be started: it counts as crashed."""

    pid = 0

    def __init__(self, why: str) -> None:
        self._why = why

    def has_instance(self, instance: Instance) -> bool:
        """Nothing runs in it."""
        del instance
        return False

    async def wait(self) -> int:
        """Return at once."""
        return 1

    async def stop(self) -> None:
        """Do nothing."""

    def last_lines(self) -> list[str]:
        """Return why."""
        return [self._why]


async def stop_in_order(replicas: Iterable[tuple[str, RunningReplica]]) -> None:
    """Stop services first, while they still reach bus and registry; then the bus; the gateway last."""
    tiers: dict[str, list[RunningReplica]] = {"": [], BUS: [], GATEWAY: []}
    for service, running in replicas:
        tiers[service if service in tiers else ""].append(running)
    for tier in tiers.values():
        await asyncio.gather(*(running.stop() for running in tier))
