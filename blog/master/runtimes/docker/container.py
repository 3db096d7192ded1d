"""Container replica: one container, and a thread that writes its log and waits for its end.

A container that has ended is removed; its log stays in the replica's file.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.master.runtimes.docker.engine import FAILURES, DockerEngine, why
from blog.master.runtimes.logs import ReplicaLog

STOP_AFTER = 10.0
"""Seconds that a replica has to drain, as with `docker stop`."""
_REMOVED_WITHIN = 20.0
_AGAIN_AFTER = 1.0
_OVERLAP = 2.0
_HOST_NAME = 12
"""Characters of a container's id that are its host name."""

log = get_logger()


@contextmanager
def _closing(stream: Any) -> Iterator[None]:
    """Close the connection of `stream` after the body: the SDK leaves that to the garbage collector.

    Its own `close` shuts the socket down first, which fails if the engine has closed it already.
    """
    try:
        yield
    finally:
        with suppress(*FAILURES):
            stream._response.close()  # noqa: SLF001 - there is no other way to it


class ContainerReplica:
    """One container. What it logged before `since` (Unix time) is in the replica's log already."""

    def __init__(
        self, engine: DockerEngine, container: Container, log: ReplicaLog, since: float = 0.0
    ) -> None:
        self.pid: int = container.attrs["State"]["Pid"]
        self._engine = engine
        self._container = container
        self._log = log
        self._since = since
        self._code: int | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # not in the engine's pool, and never joined: it lives as long as the container
        threading.Thread(target=self._follow, name=f"{container.name} log", daemon=True).start()

    def has_instance(self, instance: Instance) -> bool:
        """Return whether `instance` runs in this container: its host name is the container's id."""
        # all of that name: one letter would be the beginning of the ids of many
        return instance.metadata.get("host", "") == (self._container.id or "")[:_HOST_NAME] != ""

    async def wait(self) -> int | None:
        """Wait until it has ended; return None if it was removed by another program."""
        await self._ended.wait()
        return self._code

    async def stop(self) -> None:
        """Send SIGTERM; remove the container if it does not end in time."""
        await self._attempt("container.signal_failed", lambda: self._container.kill("SIGTERM"))
        if await self._ends_within(STOP_AFTER):
            return
        await self._attempt(
            "container.removal_failed", lambda: self._container.remove(force=True, v=True)
        )
        if not await self._ends_within(_REMOVED_WITHIN):
            log.error("container.not_stopped", container=self._container.name)

    def last_lines(self) -> list[str]:
        """Return the last lines it logged."""
        return self._log.last_lines()

    async def _attempt(self, event: str, work: Callable[[], None]) -> None:
        """Call the engine; log a failure as `event`, unless the container has ended."""
        try:
            await self._engine.call(lambda _: work())
        except FAILURES as error:
            if not self._ended.is_set():
                log.info(event, container=self._container.name, reason=why(error))

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    def _follow(self) -> None:
        """Run in the thread: write its log until it has ended, whatever happens to the engine.

        Once the connections to the engine are closed, the container belongs to the next master.
        """
        while True:
            try:
                if not self._engine.is_closed:
                    self._write_log()
                if self._engine.is_closed:
                    return
                if (code := self._exit_code()) is not None:
                    break
            except NotFound:
                code = self._code
                break
            except FAILURES as error:
                name = self._container.name
                log.warning("container.log_interrupted", container=name, reason=why(error))
            time.sleep(_AGAIN_AFTER)
        self._code = code
        with suppress(*FAILURES):  # otherwise the next container of this name removes it
            self._container.remove(force=True, v=True)
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._ended.set)

    def _write_log(self) -> None:
        """Write lines as they come; return when the container has ended or the engine is gone."""
        # the clocks of engine and file differ: a little is read again, and known lines are skipped
        since = max(0.0, self._since - _OVERLAP)
        known = self._log.recent() if self._since else frozenset()
        chunks = self._container.logs(stream=True, follow=True, since=since or None)
        with _closing(chunks), self._log.open() as file:
            for line in (line for chunk in chunks for line in chunk.splitlines(keepends=True)):
                self._since = time.time()
                if line in known:
                    continue
                known = frozenset()
                with suppress(OSError):  # a full disk costs lines
                    file.write(line)

    def _exit_code(self) -> int | None:
        """Return its exit code if it has ended, else None."""
        self._container.reload()
        state = self._container.attrs["State"]
        self._code = state["ExitCode"]
        return None if state["Running"] else self._code

    def __repr__(self) -> str:
        """Show its name, and whether it has ended."""
        return f"<ContainerReplica {self._container.name}{', ended' if self._ended.is_set() else ''}>"
