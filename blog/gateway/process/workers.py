"""Workers: several processes share the public port (SO_REUSEPORT); this one has the registry and them.

One that exits is replaced. Their statistics add up here; those of one that has exited remain.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pydantic import ValidationError

from blog.core.background import background
from blog.core.backoff import Backoff, Failures
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.gateway.edge.token_buckets import shared_memory
from blog.gateway.telemetry.stats import StatsSnapshot
from blog.lifecycle.health_endpoints import HealthEndpoints

_RESTART = Backoff(0.05, 5.0)
_HELD_AFTER = 5.0
"""Seconds after which a worker's exit is not one more in a row."""

log = get_logger()


class WorkerProcesses:
    """Processes with `environ`, which names port and registry. Their requests count in `health`."""

    def __init__(self, settings: Settings, environ: dict[str, str], health: HealthEndpoints) -> None:
        self.restarts = 0
        self._count = settings.workers
        self._environ = environ
        self._health = health
        self._exited = StatsSnapshot()
        self._live: dict[int, StatsSnapshot] = {}
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._all_serve = asyncio.Event()
        self._is_stopping = False
        self._buckets: int

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them while the body runs."""
        with shared_memory() as self._buckets:  # outlives a worker
            async with background(*(self._supervise(number) for number in range(self._count))):
                try:
                    yield
                finally:
                    self._is_stopping = True
                    self._signal(signal.SIGKILL)

    async def wait_until_serving(self) -> None:
        """Return once every worker accepts requests."""
        await self._all_serve.wait()

    async def drain(self, unlisted: asyncio.Event) -> None:
        """Drain them once `unlisted`; return when all have exited."""
        await unlisted.wait()
        self._is_stopping = True
        self._signal(signal.SIGTERM)
        for process in tuple(self._running.values()):
            await process.wait()

    def snapshots(self) -> list[StatsSnapshot]:
        """Return the statistics of those that run, and of those that have exited."""
        return [self._exited, *self._live.values()]

    def pids(self) -> list[int]:
        """Return the ids of the processes."""
        return [process.pid for process in self._running.values()]

    async def _supervise(self, number: int) -> None:
        failures = Failures(_HELD_AFTER)
        while not self._is_stopping:
            began = asyncio.get_running_loop().time()
            code = await self._run(number)
            if self._is_stopping:
                return
            self.restarts += 1
            lived = asyncio.get_running_loop().time() - began
            delay = _RESTART.delay(failures.add(lived))
            log.warning("worker.exited", number=number, code=code, again_in_s=delay)
            await asyncio.sleep(delay)

    async def _run(self, number: int) -> int:
        """Run one process to its end; return its exit code."""
        read_fd, write_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "blog.gateway.process.worker",
                str(write_fd),
                str(self._buckets),
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(write_fd, self._buckets),
            )
        finally:
            os.close(write_fd)
        self._running[number] = process
        try:
            await self._read_stats(number, read_fd)
            return await process.wait()
        finally:
            del self._running[number]
            with suppress(ProcessLookupError):
                process.kill()
            self._exited += self._live.get(number, StatsSnapshot()).ended()
            self._update(number, StatsSnapshot())
            del self._live[number]

    async def _read_stats(self, number: int, read_fd: int) -> None:
        """Read the statistics of a worker until it exits."""
        reader = asyncio.StreamReader(limit=1 << 20)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb")
        )
        try:
            async for line in reader:
                with suppress(ValidationError):  # cut off in the middle
                    self._update(number, StatsSnapshot.model_validate_json(line))
                if len(self._live) == self._count:
                    self._all_serve.set()
        finally:
            transport.close()

    def _update(self, number: int, snapshot: StatsSnapshot) -> None:
        before = self._live.get(number, StatsSnapshot())
        self._live[number] = snapshot
        self._health.requests.add(snapshot.requests - before.requests)
        self._health.streams.add(snapshot.streams - before.streams)

    def _signal(self, number: signal.Signals) -> None:
        for process in tuple(self._running.values()):
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def __repr__(self) -> str:
        """Show which run."""
        return f"<WorkerProcesses: {self.pids()}, {self.restarts} restarts>"
