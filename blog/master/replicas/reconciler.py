"""Reconciler: keeps the desired number of replicas running. It compares, then acts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.master.programs import check_counts, defaults, names
from blog.master.replicas.plan import Replica, plan
from blog.master.runtimes.base import EXIT_CONFIG_ERROR, RunningReplica, Runtime, stop_in_order

_FIX_IT = "fix what it reports; it is started again and again"

log = get_logger()


class Reconciler:
    """Runs `desired` replicas on `runtime`. Made by `Reconciler.open`."""

    def __init__(self, runtime: Runtime, desired: Mapping[str, int], clock: Clock) -> None:
        self.desired = dict(desired)
        self.running: dict[str, RunningReplica] = {}
        self.replicas: list[Replica] = []
        self.surge: Counter[str] = Counter()
        """Replicas beyond the desired ones: a rollout adds one for a while."""
        self._runtime = runtime
        self._clock = clock
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._group: asyncio.TaskGroup

    @staticmethod
    @asynccontextmanager
    async def open(
        runtime: Runtime, desired: Mapping[str, int], clock: Clock
    ) -> AsyncIterator["Reconciler"]:
        """Keep the replicas running while the body runs; then drain them all, the gateway last.

        Replicas of an earlier master are adopted: they are in `replicas` from the start.
        """
        reconciler = Reconciler(runtime, desired, clock)
        async with asyncio.TaskGroup() as reconciler._group:
            try:
                reconciler._adopt()
                async with background(reconciler._reconcile()):
                    yield reconciler
            finally:
                await asyncio.shield(reconciler._stop_all())

    def scale(self, desired: Mapping[str, int]) -> None:
        """Change the desired number of replicas. Raises SettingsError for one that is not possible."""
        if desired.items() <= self.desired.items():
            return
        check_counts(desired, defaults())
        self.desired |= desired
        self.wake()

    def wake(self) -> None:
        """Compare again, because something about the replicas was changed from outside."""
        self._changed.set()

    def on_exit(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each exit of a replica; return a function that ends this."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def expected(self) -> dict[str, int]:
        """Return how many replicas of each service are expected to become ready."""
        return {name: max(0, count - len(self.failing(name))) for name, count in self.desired.items()}

    def failing(self, service: str) -> list[Replica]:
        """List the replicas that are not expected to become ready."""
        return [replica for replica in self.replicas if replica.service == service and replica.is_failing]

    def replica_of(self, instance: Instance) -> Replica | None:
        """Return the replica in which `instance` runs; None for one that this master does not run."""
        candidates = (
            r for r in self.replicas if r.service == instance.service and r.name in self.running
        )
        return next((r for r in candidates if self.running[r.name].has_instance(instance)), None)

    def _adopt(self) -> None:
        """Adopt the replicas that run already; stop those of services that no longer exist."""
        for found in self._runtime.adopted:
            began = self._clock.monotonic() - found.age
            replica = Replica(found.service, found.number, began, is_running=True)
            self.replicas.append(replica)
            self.running[replica.name] = found.running
            self._group.create_task(self._watch(replica, found.running))
            if replica.service not in names():
                self._stop(replica)

    async def _reconcile(self) -> None:
        while True:
            self._changed.clear()
            desired = {name: count + self.surge[name] for name, count in self.desired.items()}
            todo = plan(desired, self.replicas, self._clock.monotonic())
            for replica in todo.stop:
                self._stop(replica)
            for replica in todo.start:
                await self._start(replica)
            due = todo.next_check
            try:
                async with asyncio.timeout(None if due is None else due - self._clock.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _start(self, replica: Replica) -> None:
        if replica not in self.replicas:
            self.replicas.append(replica)
        replica.is_running = True
        replica.started = self._clock.monotonic()
        self.running[replica.name] = running = await self._runtime.start(replica.service, replica.name)
        self._group.create_task(self._watch(replica, running))

    def _stop(self, replica: Replica) -> None:
        replica.is_stopping = True
        if replica.is_running:
            self._group.create_task(self.running[replica.name].stop())
        else:
            self.replicas.remove(replica)
            self.running.pop(replica.name, None)

    async def _watch(self, replica: Replica, running: RunningReplica) -> None:
        """Wait until a replica ends; one that was not stopped has crashed."""
        code = await running.wait()
        replica.is_running = False
        if replica.is_stopping:
            self.replicas.remove(replica)
            del self.running[replica.name]
            log.info("replica.stopped", replica=replica.name)
        else:
            self._restart_later(replica, running, code)
        self._changed.set()
        for callback in list(self._callbacks):
            callback()

    def _restart_later(self, replica: Replica, running: RunningReplica, code: int | None) -> None:
        delay = replica.crashed(self._clock.monotonic())
        replica.last_lines = running.last_lines()
        before, replica.config_error = (
            replica.config_error,
            _config_error(replica.last_lines) if code == EXIT_CONFIG_ERROR else "",
        )
        if replica.config_error:
            if replica.config_error != before:  # only once, though it is started again and again
                log.error(
                    "replica.cannot_run", replica=replica.name, reason=replica.config_error, next=_FIX_IT
                )
        elif replica.is_crash_loop:
            last = replica.last_lines[-3:]
            log.error(
                "replica.crash_loop",
                replica=replica.name,
                code=code,
                times=replica.failures.count,
                last=last,
            )
        else:
            log.warning("replica.crashed", replica=replica.name, code=code, restart_in_s=round(delay, 1))

    async def _stop_all(self) -> None:
        ending = [replica for replica in self.replicas if replica.is_running]
        for replica in ending:
            replica.is_stopping = True
        await stop_in_order((replica.service, self.running[replica.name]) for replica in ending)

    def __repr__(self) -> str:
        """Show the replicas."""
        names = (f"{r.name}{'' if r.is_running else ' (down)'}" for r in self.replicas)
        return f"<Reconciler of {', '.join(names) or 'nothing'}>"


def _config_error(last_lines: list[str]) -> str:
    """Return why a program cannot run, as it says in its last line."""
    last = next((line.strip() for line in reversed(last_lines) if line.strip()), "")
    return last.removeprefix("blog: ") or "it ended with exit code 2 and no message"
