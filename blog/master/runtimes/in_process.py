"""Replicas as tasks in one event loop: real HTTP between them on free loopback ports, nothing mocked."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blog.core.background import first_of
from blog.core.clock import Clock
from blog.core.errors import SettingsError
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.lifecycle.lifecycle import BoundMember, Lifecycle
from blog.lifecycle.registries import own_url
from blog.master.programs import GATEWAY, program
from blog.master.runtimes.base import EXIT_CONFIG_ERROR, AdoptedReplica

log = get_logger()


class TaskReplica:
    """One task, with the lifecycle of the instance in it."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.pid = os.getpid()
        self._task: asyncio.Task[None]
        self._ended = asyncio.Event()
        self._code = 0
        self._why: list[str] = []

    async def run(self, service: str, settings: Settings) -> None:
        """Live until asked to stop; a crash is an exit code, as of a process."""
        try:
            await program(service)(settings, self.lifecycle)
        except asyncio.CancelledError:
            self._code = -9
        except SettingsError as error:
            self._code, self._why = EXIT_CONFIG_ERROR, [error.detail]
        except Exception as error:
            log.exception("instance.crashed", service=service)
            self._code, self._why = 1, [repr(error)]
        finally:
            self._ended.set()

    def has_instance(self, instance: Instance) -> bool:
        """Return whether `instance` runs in this task."""
        return self.lifecycle.member is not None and self.lifecycle.member.instance.id == instance.id

    def owned_by(self, task: asyncio.Task[None]) -> None:
        """Know the task that it lives in."""
        self._task = task

    async def wait(self) -> int:
        """Wait until it has ended."""
        await self._ended.wait()
        return self._code

    async def stop(self) -> None:
        """Ask it to drain and wait."""
        self.lifecycle.stop()
        await self._ended.wait()

    def kill(self) -> None:
        """End it without a goodbye."""
        if self.lifecycle.member is not None:
            self.lifecycle.member.crash()
        self._task.cancel()

    def last_lines(self) -> list[str]:
        """Return why it crashed."""
        return self._why


class InProcessRuntime:
    """Starts programs as tasks; the others announce at the gateway that was started first."""

    adopted: tuple[AdoptedReplica, ...] = ()
    """None: a task ends with its process."""

    def __init__(self, settings: Settings, clock: Clock, group: asyncio.TaskGroup) -> None:
        self.replicas: list[TaskReplica] = []
        self.gateway: BoundMember | None = None
        self._settings = settings
        self._clock = clock
        self._group = group

    @staticmethod
    @asynccontextmanager
    async def open(settings: Settings, clock: Clock) -> AsyncIterator["InProcessRuntime"]:
        """Own the tasks: none is left when the context ends."""
        async with asyncio.TaskGroup() as group:
            yield InProcessRuntime(settings, clock, group)

    async def start(self, service: str, name: str) -> TaskReplica:
        """Start one task; the gateway is waited for until its ports are bound."""
        replica = TaskReplica(Lifecycle(self._clock))
        replica.owned_by(self._group.create_task(replica.run(service, self._for(service)), name=name))
        self.replicas.append(replica)
        if service == GATEWAY:
            await self._wait_until_bound(replica)
        return replica

    def member(self, instance_id: str) -> BoundMember:
        """Return the instance with this id. Raises LookupError when it does not run here."""
        return self._find(instance_id)[1]

    def kill(self, instance_id: str) -> None:
        """End an instance without a goodbye."""
        self._find(instance_id)[0].kill()

    def _find(self, instance_id: str) -> tuple[TaskReplica, BoundMember]:
        for replica in self.replicas:
            member = replica.lifecycle.member
            if member is not None and member.instance.id == instance_id:
                return replica, member
        raise LookupError(f"{instance_id} does not run here")

    async def _wait_until_bound(self, replica: TaskReplica) -> None:
        """Wait for its port, unless it is asked to stop or ends before."""
        await first_of(replica.lifecycle.bound(), replica.lifecycle.stopping.wait(), replica.wait())
        # one that ended before it was bound leaves the one that was there
        self.gateway = replica.lifecycle.member or self.gateway

    def _for(self, service: str) -> Settings:
        """Return the settings of one instance: any free port, and the gateway's registry."""
        changes: dict[str, object] = {"port": 0, "advertise": None, "embed_registry": True}
        if self.gateway is not None and service != GATEWAY:
            changes["registry"] = (own_url(self.gateway.instance.address),)
        return self._settings.model_copy(update=changes)
