"""Rollouts as they run: one at a time, step by step, under whatever else happens to the copies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from blog.core.background import TaskSupervisor
from blog.core.clock import Clock
from blog.core.errors import Conflict, Invalid
from blog.core.logs import get_logger
from blog.master.programs import SINGLE
from blog.master.replicas.plan import Replica
from blog.master.replicas.reconciler import Reconciler
from blog.master.replicas.rollout import ObservedReplica, RolloutAction, RolloutStep, step

LOOK_EVERY = 0.05

log = get_logger()


class Rollout:
    """One rollout. `said` grows by a line for each step.

    `failure` is None until it is over; then why it failed, or nothing.
    """

    def __init__(self, service: str, patience: float) -> None:
        self.service = service
        self.patience = patience
        self.said: list[str] = []
        self.failure: str | None = None

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<Rollout of {self.service}: {self.said[-1:]}, {self.failure!r}>"


class RolloutRunner:
    """Replaces copies of `master`. `is_ready` tells whether a copy answers, as others know it."""

    def __init__(self, master: Reconciler, is_ready: Callable[[Replica], bool], clock: Clock) -> None:
        self.current: Rollout | None = None
        self._master = master
        self._is_ready = is_ready
        self._clock = clock
        self._tasks = TaskSupervisor("rollout")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, master: Reconciler, is_ready: Callable[[Replica], bool], clock: Clock
    ) -> AsyncIterator[Self]:
        """Run them while the body runs; one that is under way at the end is broken off."""
        rollouts = cls(master, is_ready, clock)
        async with rollouts._tasks:
            yield rollouts

    def begin(self, service: str, patience: float) -> Rollout:
        """Begin one. Raises Invalid for what cannot be rolled out, Conflict while another one runs."""
        if service not in self._master.desired:
            known = ", ".join(sorted(self._master.desired))
            raise Invalid(f"There is no service {service!r}; there are: {known}.")
        if service in SINGLE:
            raise Invalid(f"{service} runs once; there cannot be a second one beside it for a while.")
        if self.current is not None and self.current.failure is None:
            raise Conflict(f"A rollout of {self.current.service} is under way.")
        self.current = Rollout(service, patience)
        self._tasks.start(self._run(self.current))
        return self.current

    async def _run(self, rollout: Rollout) -> None:
        copies = self._copies(rollout)
        log.info("rollout.began", service=rollout.service, copies=len(copies))
        for copy in copies:
            copy.goes_first = True
        try:
            failure = await self._steps(rollout)
        except asyncio.CancelledError:
            rollout.failure = "the blog was stopped"
            raise
        log.info("rollout.ended", service=rollout.service, failure=failure)
        rollout.failure = failure

    async def _steps(self, rollout: Rollout) -> str:
        """Take step after step; return why it failed, or nothing."""
        since = self._clock.monotonic()
        while True:
            following = self._next(rollout, self._clock.monotonic() - since)
            match following.do:
                case RolloutAction.START:
                    since = self._clock.monotonic()
                    self._surge(rollout, 1)
                case RolloutAction.DRAIN:
                    self._surge(rollout, 0)
                case RolloutAction.DONE:
                    return ""
                case RolloutAction.GIVE_UP:
                    return self._give_up(rollout, following.why)
            self._tell(rollout, following)
            await asyncio.sleep(LOOK_EVERY)

    def _next(self, rollout: Rollout, waited: float) -> RolloutStep:
        return step(
            [
                ObservedReplica(
                    copy.name,
                    is_old=copy.goes_first,
                    is_ready=self._is_ready(copy),
                    is_stopping=copy.is_stopping,
                    is_crash_loop=copy.is_crash_loop,
                    refusal=copy.refusal,
                )
                for copy in self._copies(rollout)
            ],
            self._master.desired[rollout.service],
            is_surging=self._master.surge[rollout.service] > 0,
            waited=waited,
            patience=rollout.patience,
        )

    def _give_up(self, rollout: Rollout, why: str) -> str:
        """Let the old ones stay, and have those go that did not get ready."""
        for copy in self._copies(rollout):
            copy.goes_first = not copy.goes_first and not self._is_ready(copy)
            if copy.goes_first:
                rollout.said += [f"{copy.name} | {line}" for line in self._last_lines(copy)]
        self._surge(rollout, 0)
        return why

    def _last_lines(self, copy: Replica) -> list[str]:
        running = self._master.running.get(copy.name)
        return (copy.last_words or (running.last_lines() if running else []))[-3:]

    def _surge(self, rollout: Rollout, more: int) -> None:
        self._master.surge[rollout.service] = more
        self._master.look()

    def _copies(self, rollout: Rollout) -> list[Replica]:
        return [copy for copy in self._master.copies if copy.service == rollout.service]

    def _tell(self, rollout: Rollout, taken: RolloutStep) -> None:
        old = sum(copy.goes_first and not copy.is_stopping for copy in self._copies(rollout))
        lines = {
            RolloutAction.START: f"starting a new copy of {rollout.service}; {old} to replace",
            RolloutAction.DRAIN: f"it is ready; draining one of {old}",
        }
        if taken.do in lines:
            rollout.said.append(lines[taken.do])
