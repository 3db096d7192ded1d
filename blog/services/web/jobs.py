"""Texts that are being rendered, and waiting for them: pages come and go, the jobs continue."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(eq=False)
class Job:
    """One text that is being rendered, and how many pages wait for it."""

    text: str
    html: Future[Markup] = field(default_factory=Future)
    waiters: int = 0
    is_started: bool = False

    def __post_init__(self) -> None:
        # a page that waits no longer must not cancel it for the others
        self.html.set_running_or_notify_cancel()


async def wait_for(jobs: Sequence[Job], timeout: float) -> None:
    """Wait until all are rendered, or for `timeout` seconds."""
    waits = [asyncio.wrap_future(job.html) for job in jobs]
    try:
        if waits:
            await asyncio.wait(waits, timeout=timeout)
    finally:
        for wait in waits:
            wait.cancel()
