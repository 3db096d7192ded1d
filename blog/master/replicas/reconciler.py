"""The master keeps as many copies running as there should be: it compares, then acts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from blog.core.background import background
from blog.core.clock import Clock
from blog.core.instance import Instance
from blog.core.logs import get_logger
from blog.master.programs import defaults, names
from blog.master.replicas.plan import Replica, plan
from blog.master.runtimes.base import CANNOT_RUN, RunningReplica, Runtime, end_in_order
from blog.master.scaling.spec import checked

_MEND_IT = "mend what it says; it is tried again"

log = get_logger()


class Reconciler:
    """Runs `desired` copies on `runtime`. Made by `Reconciler.open`."""

    def __init__(self, runtime: Runtime, desired: Mapping[str, int], clock: Clock) -> None:
        self.desired = dict(desired)
        self.running: dict[str, RunningReplica] = {}
        self.copies: list[Replica] = []
        self.surge: Counter[str] = Counter()
        """Copies beyond those: a rollout has one more for a while."""
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
        """Keep the copies running while the body runs; then drain them all, the gateway last.

        What ran before is taken over: it is in `copies` from the beginning.
        """
        master = Reconciler(runtime, desired, clock)
        async with asyncio.TaskGroup() as master._group:
            try:
                master._adopt()
                async with background(master._reconcile()):
                    yield master
            finally:
                await asyncio.shield(master._end_all())

    def scale(self, wanted: Mapping[str, int]) -> None:
        """Want another number of copies. Raises SettingsError for what cannot be."""
        if wanted.items() <= self.desired.items():
            return
        self.desired |= {n: c for n, c in checked(wanted, defaults()).items() if c is not None}
        self.look()

    def look(self) -> None:
        """Compare again: something about the copies was changed from outside."""
        self._changed.set()

    def on_end(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each end of a copy; returns what stops that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def expected(self) -> dict[str, int]:
        """Count the copies of each service that somebody should wait for."""
        return {name: max(0, count - len(self.given_up(name))) for name, count in self.desired.items()}

    def given_up(self, service: str) -> list[Replica]:
        """List the copies that nobody should wait for."""
        return [copy for copy in self.copies if copy.service == service and copy.is_given_up]

    def copy_of(self, instance: Instance) -> Replica | None:
        """Find the copy that this is an instance of."""
        mine = (c for c in self.copies if c.service == instance.service and c.name in self.running)
        return next((c for c in mine if self.running[c.name].is_home_of(instance)), None)

    def _adopt(self) -> None:
        """Take over what runs already; what no service is any more is ended."""
        for found in self._runtime.adopted:
            began = self._clock.monotonic() - found.age
            copy = Replica(found.service, found.number, began, is_running=True)
            self.copies.append(copy)
            self.running[copy.name] = found.running
            self._group.create_task(self._watch(copy, found.running))
            if copy.service not in names():
                self._stop(copy)

    async def _reconcile(self) -> None:
        while True:
            self._changed.clear()
            desired = {name: count + self.surge[name] for name, count in self.desired.items()}
            todo = plan(desired, self.copies, self._clock.monotonic())
            for copy in todo.stop:
                self._stop(copy)
            for copy in todo.start:
                await self._start(copy)
            due = todo.look_again
            try:
                async with asyncio.timeout(None if due is None else due - self._clock.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _start(self, copy: Replica) -> None:
        if copy not in self.copies:
            self.copies.append(copy)
        copy.is_running = True
        copy.started = self._clock.monotonic()
        self.running[copy.name] = running = await self._runtime.start(copy.service, copy.name)
        self._group.create_task(self._watch(copy, running))

    def _stop(self, copy: Replica) -> None:
        copy.is_stopping = True
        if copy.is_running:
            self._group.create_task(self.running[copy.name].end())
        else:
            self.copies.remove(copy)
            self.running.pop(copy.name, None)

    async def _watch(self, copy: Replica, running: RunningReplica) -> None:
        """Wait for the end of a copy; one that was not asked to end crashed."""
        code = await running.wait()
        copy.is_running = False
        if copy.is_stopping:
            self.copies.remove(copy)
            del self.running[copy.name]
            log.info("copy.stopped", copy=copy.name)
        else:
            self._crashed(copy, running, code)
        self._changed.set()
        for callback in list(self._callbacks):
            callback()

    def _crashed(self, copy: Replica, running: RunningReplica, code: int | None) -> None:
        delay = copy.crashed(self._clock.monotonic())
        copy.last_words = running.last_lines()
        before, copy.refusal = copy.refusal, _refusal(copy.last_words) if code == CANNOT_RUN else ""
        if copy.refusal:
            if copy.refusal != before:  # once: it is tried again and again
                log.error("copy.cannot_run", copy=copy.name, why=copy.refusal, next=_MEND_IT)
        elif copy.is_crash_loop:
            last = copy.last_words[-3:]
            log.error("copy.crash_loop", copy=copy.name, code=code, times=copy.failures.count, last=last)
        else:
            log.warning("copy.crashed", copy=copy.name, code=code, again_in_s=round(delay, 1))

    async def _end_all(self) -> None:
        ending = [copy for copy in self.copies if copy.is_running]
        for copy in ending:
            copy.is_stopping = True
        await end_in_order((copy.service, self.running[copy.name]) for copy in ending)

    def __repr__(self) -> str:
        """Show the copies."""
        names = (f"{c.name}{'' if c.is_running else ' (down)'}" for c in self.copies)
        return f"<Reconciler of {', '.join(names) or 'nobody'}>"


def _refusal(last_lines: list[str]) -> str:
    """Return what a program said when it could not be run: its last line."""
    said = next((line.strip() for line in reversed(last_lines) if line.strip()), "")
    return said.removeprefix("blog: ") or "it ended with exit code 2 and did not say why"
