"""A bus that answers before its commit: what the crash test has to find out. Runs as `blog bus` does."""

import asyncio
import sys
import time
from typing import Any

from blog.bus.log.writer import LogWriter
from blog.cli.commands import cli
from blog.eventlog.wire import Appended

_commit = LogWriter._commit


class _Hasty(asyncio.Future[Any]):
    """Never waited for: its caller has been answered."""


def hasty(self: LogWriter, jobs: Any) -> None:
    """Promise every append the sequence that it will have; then commit."""
    outcomes = [(future, list[Appended]()) for _, future in jobs]
    head = self._head
    for (job, _), (_, results) in zip(jobs, outcomes, strict=True):
        for envelope in getattr(job, "envelopes", ()):
            known = self._find(envelope.id)
            head += known is None
            results.append(Appended(envelope.id, known or head, duplicate=known is not None))
    self._loop.call_soon_threadsafe(self._complete, outcomes, ())
    time.sleep(0.05)
    loop = self._loop
    _commit(self, [(job, _Hasty(loop=loop)) for job, _ in jobs])


LogWriter._commit = hasty  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(cli.main(["bus"], prog_name="blog"))
