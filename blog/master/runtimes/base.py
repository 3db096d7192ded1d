"""What the master needs of a runtime: start a copy, end it, hear that it ended, read its last words."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from blog.core.instance import Instance
from blog.core.settings import Settings
from blog.master.programs import BUS, GATEWAY

CANNOT_RUN = 2
"""Exit code of a program that says why it cannot be run: a setting, a file, a service that is broken."""


class RunningReplica(Protocol):
    """A copy that was started."""

    @property
    def pid(self) -> int:
        """The process it runs in; 0 where there is none."""
        ...

    def is_home_of(self, instance: Instance) -> bool:
        """Tell whether `instance` is the one that runs in it."""
        ...

    async def wait(self) -> int | None:
        """Wait until it has ended; return the exit code (negative: the signal), None if nobody knows."""
        ...

    async def end(self) -> None:
        """Ask it to drain, and see to it that it ends."""
        ...

    def last_lines(self) -> list[str]:
        """Return the last lines it logged."""
        ...


class AdoptedReplica(NamedTuple):
    """A copy that ran already, of an earlier master; `age` is in seconds."""

    service: str
    name: str
    age: float
    running: RunningReplica

    @property
    def number(self) -> int:
        """The 2 of `comments-2`."""
        return int(self.name.rpartition("-")[2])


class Runtime(Protocol):
    """Starts copies."""

    @property
    def adopted(self) -> Sequence[AdoptedReplica]:
        """The copies that ran already when the runtime was opened."""
        ...

    async def start(self, service: str, name: str) -> RunningReplica:
        """Start one copy of `service`, called `name`; does not wait until it is ready.

        What cannot be started is a copy that has ended already and says why: `UnstartedReplica`.
        """
        ...


class PersistentRuntime(Runtime, Protocol):
    """One whose copies outlive the master."""

    async def prepare(self, settings: Settings) -> None:
        """Take the settings of copies to come. Raises SettingsError for what cannot be."""
        ...

    async def clear(self) -> None:
        """Remove what is left of the runtime itself, once every copy has ended. Raises SettingsError."""
        ...


class UnstartedReplica:
    """A copy that could not be started: it has crashed before it began."""

    pid = 0

    def __init__(self, why: str) -> None:
        self._why = why

    def is_home_of(self, instance: Instance) -> bool:
        """Nothing runs in it."""
        del instance
        return False

    async def wait(self) -> int:
        """Return at once."""
        return 1

    async def end(self) -> None:
        """There is nothing to end."""

    def last_lines(self) -> list[str]:
        """Return why."""
        return [self._why]


async def end_in_order(copies: Iterable[tuple[str, RunningReplica]]) -> None:
    """End services first, while bus and registry can still hear them out; the gateway last."""
    tiers: dict[str, list[RunningReplica]] = {"": [], BUS: [], GATEWAY: []}
    for service, running in copies:
        tiers[service if service in tiers else ""].append(running)
    for tier in tiers.values():
        await asyncio.gather(*(running.end() for running in tier))
