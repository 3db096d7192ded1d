"""Workers: several processes share the public port (SO_REUSEPORT); this one holds the registry and them.

One that ends is replaced. What they count adds up here; what one has counted stays when it ends.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pydantic import ValidationError

from blog.core.background import background
from blog.core.logs import get_logger
from blog.core.settings import Settings
from blog.gateway.edge.token_buckets import shared
from blog.gateway.telemetry.stats import StatsSnapshot
from blog.lifecycle.health_endpoints import HealthEndpoints

_FIRST_DELAY, _LAST_DELAY = 0.05, 5.0
KILL_AFTER = 9.0
"""Seconds that a worker has to drain."""

log = get_logger()


class WorkerProcesses:
    """Processes with `environ`, which names port and registry. What they do counts in `health`."""

    def __init__(self, settings: Settings, environ: dict[str, str], health: HealthEndpoints) -> None:
        self.restarts = 0
        self._count = settings.workers
        self._environ = environ
        self._health = health
        self._ended = StatsSnapshot()
        self._now: dict[int, StatsSnapshot] = {}
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._all_serve = asyncio.Event()
        self._is_stopping = False
        self._buckets: int

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep them running while the body runs."""
        with shared() as self._buckets:  # what one has counted stays when it ends
            async with background(*(self._keep(number) for number in range(self._count))):
                try:
                    yield
                finally:
                    self._is_stopping = True
                    self._signal(signal.SIGKILL)

    async def wait_until_serving(self) -> None:
        """Return once every worker takes requests."""
        await self._all_serve.wait()

    async def drain(self, unlisted: asyncio.Event) -> None:
        """Let them drain once `unlisted`; return when all have ended."""
        await unlisted.wait()
        self._is_stopping = True
        self._signal(signal.SIGTERM)
        for process in tuple(self._running.values()):
            await process.wait()

    def snapshots(self) -> list[StatsSnapshot]:
        """Return what was counted, by those that run and by those that ran."""
        return [self._ended, *self._now.values()]

    def pids(self) -> list[int]:
        """List the processes."""
        return [process.pid for process in self._running.values()]

    async def _keep(self, number: int) -> None:
        delay = _FIRST_DELAY
        while not self._is_stopping:
            began = asyncio.get_running_loop().time()
            code = await self._run(number)
            if self._is_stopping:
                return
            self.restarts += 1
            lived = asyncio.get_running_loop().time() - began
            delay = _FIRST_DELAY if lived > _LAST_DELAY else min(delay * 2, _LAST_DELAY)
            log.warning("worker.ended", number=number, code=code, again_in_s=delay)
            await asyncio.sleep(delay)

    async def _run(self, number: int) -> int:
        """Run one process to its end; return its exit code."""
        heard, told = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "blog.gateway.process.worker",
                str(told),
                str(self._buckets),
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(told, self._buckets),
            )
        finally:
            os.close(told)
        self._running[number] = process
        try:
            await self._listen(number, heard)
            return await process.wait()
        finally:
            del self._running[number]
            with suppress(ProcessLookupError):
                process.kill()
            self._ended += self._now.get(number, StatsSnapshot()).ended()
            self._update(number, StatsSnapshot())
            del self._now[number]

    async def _listen(self, number: int, heard: int) -> None:
        """Take in what a worker counts until it ends."""
        reader = asyncio.StreamReader(limit=1 << 20)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(heard, "rb")
        )
        try:
            async for line in reader:
                with suppress(ValidationError):  # cut off in the middle
                    self._update(number, StatsSnapshot.model_validate_json(line))
                if len(self._now) == self._count:
                    self._all_serve.set()
        finally:
            transport.close()

    def _update(self, number: int, snapshot: StatsSnapshot) -> None:
        before = self._now.get(number, StatsSnapshot())
        self._now[number] = snapshot
        self._health.requests.add(snapshot.requests - before.requests)
        self._health.streams.add(snapshot.streams - before.streams)

    def _signal(self, number: signal.Signals) -> None:
        for process in tuple(self._running.values()):
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def __repr__(self) -> str:
        """Show who runs."""
        return f"<WorkerProcesses: {self.pids()}, {self.restarts} restarts>"
