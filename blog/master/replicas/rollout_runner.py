"""Rollout runner: carries out one rollout at a time, whatever else happens to the replicas."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import Conflict, Invalid
from blog.core.logs import get_logger
from blog.master.programs import SINGLETONS
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.replicas.rollout import ObservedReplica, RolloutAction, RolloutStep, next_step

POLL_INTERVAL = 0.05

log = get_logger()


class Rollout:
    """One rollout. `lines` grows by a line for each step, for people.

    `failure` is None until it is over; then the reason, or "" if it succeeded.
    """

    def __init__(self, service: str, ready_timeout: float) -> None:
        self.service = service
        self.ready_timeout = ready_timeout
        self.lines: list[str] = []
        self.failure: str | None = None

    def __repr__(self) -> str:
        """Show its progress."""
        return f"<Rollout of {self.service}: {self.lines[-1:]}, {self.failure!r}>"


class RolloutRunner:
    """Replaces replicas of `reconciler`. `is_ready` returns whether the registry knows one as ready."""

    def __init__(self, reconciler: Reconciler, is_ready: Callable[[Replica], bool], clock: Clock) -> None:
        self.current: Rollout | None = None
        self._reconciler = reconciler
        self._is_ready = is_ready
        self._clock = clock
        self._tasks = TaskSupervisor("rollout")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, reconciler: Reconciler, is_ready: Callable[[Replica], bool], clock: Clock
    ) -> AsyncIterator[Self]:
        """Run rollouts while the body runs; one that is running at the end is aborted."""
        runner = cls(reconciler, is_ready, clock)
        async with runner._tasks:
            yield runner

    def start(self, service: str, ready_timeout: float) -> Rollout:
        """Start one. Raises Invalid if a service cannot be rolled out, Conflict while another runs."""
        if service not in self._reconciler.desired:
            known = ", ".join(sorted(self._reconciler.desired))
            raise Invalid(f"There is no service {service!r}; there are: {known}.")
        if service in SINGLETONS:
            raise Invalid(f"{service} runs once; a second replica cannot run beside it.")
        if self.current is not None and self.current.failure is None:
            raise Conflict(f"A rollout of {self.current.service} is already running.")
        self.current = Rollout(service, ready_timeout)
        self._tasks.start(self._run(self.current))
        return self.current

    async def _run(self, rollout: Rollout) -> None:
        replicas = self._replicas(rollout)
        log.info("rollout.started", service=rollout.service, replicas=len(replicas))
        for replica in replicas:
            replica.is_first_to_stop = True
        try:
            failure = await self._take_steps(rollout)
        except asyncio.CancelledError:
            rollout.failure = "the blog was stopped"
            raise
        log.info("rollout.ended", service=rollout.service, failure=failure)
        rollout.failure = failure

    async def _take_steps(self, rollout: Rollout) -> str:
        """Take step after step; return the reason if it failed, else ""."""
        since = self._clock.monotonic()
        while True:
            step = self._next(rollout, self._clock.monotonic() - since)
            match step.action:
                case RolloutAction.START:
                    since = self._clock.monotonic()
                    self._surge(rollout, 1)
                case RolloutAction.DRAIN:
                    self._surge(rollout, 0)
                case RolloutAction.DONE:
                    return ""
                case RolloutAction.ABORT:
                    return self._abort(rollout, step.reason)
            self._report(rollout, step)
            await asyncio.sleep(POLL_INTERVAL)

    def _next(self, rollout: Rollout, waited: float) -> RolloutStep:
        return next_step(
            [
                ObservedReplica(
                    replica.name,
                    is_old=replica.is_first_to_stop,
                    is_ready=self._is_ready(replica),
                    is_stopping=replica.is_stopping,
                    is_crash_loop=replica.is_crash_loop,
                    config_error=replica.config_error,
                )
                for replica in self._replicas(rollout)
            ],
            self._reconciler.desired[rollout.service],
            is_surging=self._reconciler.surge[rollout.service] > 0,
            waited=waited,
            ready_timeout=rollout.ready_timeout,
        )

    def _abort(self, rollout: Rollout, reason: str) -> str:
        """Keep the old replicas, and stop the new ones that are not ready."""
        for replica in self._replicas(rollout):
            replica.is_first_to_stop = not replica.is_first_to_stop and not self._is_ready(replica)
            if replica.is_first_to_stop:
                rollout.lines += [f"{replica.name} | {line}" for line in self._last_lines(replica)]
        self._surge(rollout, 0)
        return reason

    def _last_lines(self, replica: Replica) -> list[str]:
        running = self._reconciler.running.get(replica.name)
        return (replica.last_lines or (running.last_lines() if running else []))[-3:]

    def _surge(self, rollout: Rollout, more: int) -> None:
        self._reconciler.surge[rollout.service] = more
        self._reconciler.wake()

    def _replicas(self, rollout: Rollout) -> list[Replica]:
        return [replica for replica in self._reconciler.replicas if replica.service == rollout.service]

    def _report(self, rollout: Rollout, step: RolloutStep) -> None:
        old = sum(
            replica.is_first_to_stop and not replica.is_stopping for replica in self._replicas(rollout)
        )
        lines = {
            RolloutAction.START: f"starting a new replica of {rollout.service}; {old} to replace",
            RolloutAction.DRAIN: f"it is ready; draining one of {old}",
        }
        if step.action in lines:
            rollout.lines.append(lines[step.action])
