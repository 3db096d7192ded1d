"""Copies as local processes: each in a session of its own, its output in its log, its name locked by it.

Nothing ties a copy to its master: one that is killed leaves a blog that serves, and the next one finds
every copy by its lock.
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
from blog.core.settings import PREFIX, Settings
from blog.lifecycle.local_instances import began
from blog.master.runtimes import lock as copy_lock
from blog.master.runtimes.base import AdoptedReplica, RunningReplica, UnstartedReplica
from blog.master.runtimes.logs import ReplicaLog

LOCK_OPTION = "--copy-lock"
KILL_AFTER = 10.0
"""Seconds that a copy has to drain."""
_CLAIMED_WITHIN = 15.0  # Python starts in less, also on a busy machine
_LOOK_EVERY = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessReplica:
    """One process: a `child` of ours, or of a master before."""

    def __init__(
        self, holder: copy_lock.LockHolder, log: ReplicaLog, child: subprocess.Popen[bytes] | None
    ) -> None:
        self.pid, self._pidfd = holder
        self._log = log
        self._child = child
        self._code: int | None = None
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._has_ended)

    def is_home_of(self, instance: Instance) -> bool:
        """Tell whether `instance` runs in this process."""
        host = instance.metadata.get("host", socket.gethostname())
        return (host, instance.metadata.get("pid")) == (socket.gethostname(), str(self.pid))

    async def wait(self) -> int | None:
        """Wait until it has ended. The exit code of somebody else's child is nobody's to know."""
        await self._ended.wait()
        return self._code

    async def end(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end in time."""
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
        """Show which."""
        ended = ", ended" if self._ended.is_set() else ""
        return f"<ProcessReplica {self._log.path.stem}: {self.pid}{ended}>"


class ProcessRuntime:
    """Starts `python -m blog NAME` with the settings that the master has, on any free port."""

    def __init__(self, data_dir: Path) -> None:
        self.adopted: list[AdoptedReplica] = []
        self._logs = data_dir / "logs"
        self._locks = data_dir / "run" / "copies"
        self._settings: Settings

    @staticmethod
    @asynccontextmanager
    async def open(data_dir: Path) -> AsyncIterator["ProcessRuntime"]:
        """Find the copies that run in `data_dir` already. Raises SettingsError for one out of reach."""
        processes = ProcessRuntime(data_dir)
        processes._locks.mkdir(parents=True, exist_ok=True)
        for path in sorted(processes._locks.glob("*.lock")):
            if (found := await processes._found(path)) is not None:
                processes.adopted.append(found)
        yield processes

    async def prepare(self, settings: Settings) -> None:
        """Start copies with `settings` from now on."""
        self._settings = settings

    async def start(self, service: str, name: str) -> RunningReplica:
        """Start one process; one that runs under this name already is taken over."""
        path = self._locks / f"{name}.lock"
        try:
            lock = copy_lock.take(path)
            if lock is not None:
                return self._started(service, name, lock)
            found = await self._found(path)
        except (OSError, SettingsError) as error:
            return UnstartedReplica(str(error))
        return UnstartedReplica(f"{name} ran already, and ended") if found is None else found.running

    async def clear(self) -> None:
        """Remove the files of the locks."""
        for path in self._locks.glob("*.lock"):
            path.unlink()

    def _started(self, service: str, name: str, lock: int) -> ProcessReplica:
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
        return ProcessReplica(copy_lock.LockHolder(child.pid, os.pidfd_open(child.pid)), log, child)

    async def _found(self, path: Path) -> AdoptedReplica | None:
        """Take over the copy with this lock, if it lives. One that was just forked says so soon."""
        deadline = time.monotonic() + _CLAIMED_WITHIN
        while is_locked(path):
            holder = copy_lock.holder(path)
            if holder is not None and holder.pid:
                copy = ProcessReplica(holder, ReplicaLog(self._logs / f"{path.stem}.log"), None)
                return AdoptedReplica(path.stem.rpartition("-")[0], path.stem, _age(holder.pid), copy)
            if holder is not None or time.monotonic() > deadline:
                raise SettingsError(f"{path.stem} runs, but not where it could be reached from: {path}.")
            await asyncio.sleep(_LOOK_EVERY)
        return None

    def _environment(self) -> dict[str, str]:
        """Return the environment of a child: ours, but where to listen and to announce."""
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
            "TOKEN": settings.secret or "",
        }
        return dict(os.environ) | {PREFIX + name: value for name, value in own.items()}


def _age(pid: int) -> float:
    """Return for how many seconds a process has run; 0 when it is gone."""
    ticks = began(pid)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / _TICKS if ticks else 0.0
