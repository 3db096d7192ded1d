"""Replicas as local processes: each in a session of its own, writing its log, holding its lock.

Nothing ties a replica to its master: a killed master leaves a blog that serves, and the next one finds
every replica by its lock.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from blog.core.errors import SettingsError
from blog.core.files.lock import is_locked
from blog.core.instance import Instance
from blog.core.net.address import Address
from blog.core.settings import PREFIX, Settings, without_token
from blog.lifecycle.local_instances import began
from blog.master.runtimes import lock as replica_lock
from blog.master.runtimes.base import AdoptedReplica, RunningReplica, UnstartedReplica
from blog.master.runtimes.logs import ReplicaLog

LOCK_OPTION = "--replica-lock"
KILL_AFTER = 10.0
"""Seconds that a replica has to drain."""
_CLAIMED_WITHIN = 15.0  # Python starts in less, also on a busy machine
_POLL_INTERVAL = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessReplica:
    """One process: a `child` of this master, or of an earlier one (None)."""

    def __init__(
        self, holder: replica_lock.LockHolder, log: ReplicaLog, child: subprocess.Popen[bytes] | None
    ) -> None:
        self.pid, self._pidfd = holder
        self._log = log
        self._child = child
        self._code: int | None = None
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._has_ended)

    def has_instance(self, instance: Instance) -> bool:
        """Return whether `instance` runs in this process."""
        host = instance.metadata.get("host", socket.gethostname())
        return (host, instance.metadata.get("pid")) == (socket.gethostname(), str(self.pid))

    async def wait(self) -> int | None:
        """Wait until it has ended. The exit code of an earlier master's child is unknown."""
        await self._ended.wait()
        return self._code

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it does not end in time."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER):
                await self._ended.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def last_lines(self) -> list[str]:
        """Return the last lines it logged."""
        return self._log.last_lines()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to this process: the descriptor never means another one, as an id may."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._child is not None:
            self._code = self._child.wait()
        self._ended.set()

    def __repr__(self) -> str:
        """Show name and process."""
        ended = ", ended" if self._ended.is_set() else ""
        return f"<ProcessReplica {self._log.path.stem}: {self.pid}{ended}>"


class ProcessRuntime:
    """Starts `python -m blog NAME` with the settings of the master, on any free port."""

    def __init__(self, data_dir: Path) -> None:
        self.adopted: list[AdoptedReplica] = []
        self._logs = data_dir / "logs"
        self._locks = data_dir / "run" / "copies"
        self._settings: Settings

    @staticmethod
    @asynccontextmanager
    async def open(data_dir: Path) -> AsyncIterator["ProcessRuntime"]:
        """Adopt the replicas that run in `data_dir`. Raises SettingsError if one cannot be reached."""
        runtime = ProcessRuntime(data_dir)
        runtime._locks.mkdir(parents=True, exist_ok=True)
        for path in sorted(runtime._locks.glob("*.lock")):
            if (found := await runtime._adopt(path)) is not None:
                runtime.adopted.append(found)
        yield runtime

    async def prepare(self, settings: Settings) -> None:
        """Start replicas with `settings` from now on."""
        self._settings = settings

    async def start(self, service: str, name: str) -> RunningReplica:
        """Start one process; one that already runs under this name is adopted."""
        path = self._locks / f"{name}.lock"
        try:
            lock = replica_lock.acquire(path)
            if lock is not None:
                return self._spawn(service, name, lock)
            found = await self._adopt(path)
        except (OSError, SettingsError) as error:
            return UnstartedReplica(str(error))
        return UnstartedReplica(f"{name} already ran, and has ended") if found is None else found.running

    async def clear(self) -> None:
        """Remove the lock files."""
        for path in self._locks.glob("*.lock"):
            path.unlink()

    def _spawn(self, service: str, name: str, lock: int) -> ProcessReplica:
        try:
            log = ReplicaLog(self._logs / f"{name}.log")
            with log.open() as output:
                child = subprocess.Popen(  # noqa: S603 - a service of ours
                    [sys.executable, "-m", "blog", service, LOCK_OPTION, str(lock)],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
        return ProcessReplica(replica_lock.LockHolder(child.pid, os.pidfd_open(child.pid)), log, child)

    async def _adopt(self, path: Path) -> AdoptedReplica | None:
        """Adopt the replica that holds this lock, if any. One that was just forked claims it soon."""
        deadline = time.monotonic() + _CLAIMED_WITHIN
        while is_locked(path):
            holder = replica_lock.find_holder(path)
            if holder is not None and holder.pid:
                replica = ProcessReplica(holder, ReplicaLog(self._logs / f"{path.stem}.log"), None)
                return AdoptedReplica(path.stem.rpartition("-")[0], path.stem, _age(holder.pid), replica)
            if holder is not None or time.monotonic() > deadline:
                raise SettingsError(
                    f"{path.stem} runs, but not where this process could reach it ({path}): stop it, or"
                    " set another BLOG_DATA_DIR."
                )
            await asyncio.sleep(_POLL_INTERVAL)
        return None

    def _environment(self) -> dict[str, str]:
        """Return the environment of a child: that of this process, with its own addresses."""
        settings = self._settings
        own = {
            "REGISTRY": Address.of(settings.host, settings.admin_port).local.url(),
            "EMBED_REGISTRY": "true",
            "HOST": settings.host,
            "PORT": "0",
            "ADVERTISE": "",
            "PUBLIC_PORT": str(settings.public_port),
            "ADMIN_PORT": str(settings.admin_port),
            "DATA_DIR": str(settings.data_dir.absolute()),
        }
        if settings.token is not None:
            own["TOKEN"] = settings.token.get_secret_value()
        return without_token(os.environ) | {PREFIX + name: value for name, value in own.items()}


def _age(pid: int) -> float:
    """Return for how many seconds a process has run; 0 when it is gone."""
    ticks = began(pid)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / _TICKS if ticks else 0.0
