"""Rendering beside the event loop: each text once, short ones first, and no page waits long for it.

The parser is Python: more threads would only take turns, with each other and with the event loop. So
there is one, of its own, which lets the event loop go first; nothing else of this instance waits for it.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from threading import Lock

from markupsafe import Markup

from blog.core.logs import get_logger
from blog.services.web.html_cache import HtmlCache
from blog.services.web.markdown import plain, render

PATIENCE = 3.0
"""Seconds that a page waits for its texts; what is not rendered by then is shown as it was typed."""
MOST_KEPT = 32 << 20
"""Bytes of texts and HTML that are kept."""
MOST_WAITING = 8 << 20
"""Characters of all texts that wait; what comes on top is shown as it was typed."""

log = get_logger()


def courteous(text: str) -> Markup:
    """Render a text on a thread beside the event loop, without being in its way."""
    with _no_collection():
        return render(text, _processor_time)


def _processor_time() -> float:
    """Return the seconds that this thread had; on the way, whatever waits for the interpreter gets it."""
    time.sleep(0)
    return time.thread_time()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put the garbage collection off until a text is done.

    A text may have a million tokens, none in a cycle. The collector would look at all of them again and
    again, and everything in the process stands still while it does.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(eq=False)
class _Job:
    """One text on its way, and how many pages wait for it."""

    text: str
    html: Future[Markup] = field(default_factory=Future)
    pages: int = 0
    is_begun: bool = False

    def __post_init__(self) -> None:
        # a page that waits no longer must not cancel it for the others
        self.html.set_running_or_notify_cancel()


class Renderer:
    """Renders texts, and keeps what came of them: also of those that were over the budget."""

    def __init__(
        self,
        render: Callable[[str], Markup] = courteous,
        *,
        most_kept: int = MOST_KEPT,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._render = render
        self._most_waiting = most_waiting
        self._kept = HtmlCache(most_kept)
        self._jobs: dict[str, _Job] = {}
        self._queue: list[tuple[int, int, _Job]] = []
        self._waiting = self._number = 0
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="markdown")

    async def render(self, texts: Sequence[str], patience: float = PATIENCE) -> list[Markup]:
        """Return the HTML of each text; plain text where it does not come within `patience` seconds."""
        with self._lock:
            found = {text: self._find(text) for text in texts}
        jobs = [job for job in found.values() if isinstance(job, _Job)]
        try:
            await _wait(jobs, patience)
        finally:
            self._leave(jobs)
        return [_html(text, found[text]) for text in texts]

    def _find(self, text: str) -> Markup | _Job | None:
        """Return what a text became, or the job that makes it; None if too much waits already."""
        html = self._kept.find(text)
        if html is not None:
            return html
        job = self._jobs.get(text) or self._begin(text)
        if job is not None:
            job.pages += 1
        return job

    def _begin(self, text: str) -> _Job | None:
        if self._waiting + len(text) > self._most_waiting:
            return None
        job = self._jobs[text] = _Job(text)
        self._number += 1
        self._waiting += len(text)
        # the work that a text may cost grows with its length
        heappush(self._queue, (len(text), self._number, job))
        self._thread.submit(self._work)
        return job

    def _leave(self, jobs: Sequence[_Job]) -> None:
        """Wait no longer; what nobody waits for any more is not begun."""
        with self._lock:
            for job in jobs:
                job.pages -= 1
                if not job.pages and not job.is_begun and self._jobs.get(job.text) is job:
                    self._forget(job)
                    job.text = ""  # its place in the queue is left to be passed over

    def _forget(self, job: _Job) -> None:
        del self._jobs[job.text]
        self._waiting -= len(job.text)

    def _work(self) -> None:
        """Render the shortest text that waits, if one still does."""
        job = self._next()
        if job is None:
            return
        html = self._harmless(job.text)
        with self._lock:
            self._kept.keep(job.text, html)
            self._forget(job)
        job.html.set_result(html)

    def _next(self) -> _Job | None:
        with self._lock:
            while self._queue:
                job = heappop(self._queue)[-1]
                if job.pages:
                    job.is_begun = True
                    return job
        return None

    def _harmless(self, text: str) -> Markup:
        """Render; what the parser cannot do is no reason for a page not to be shown."""
        try:
            return self._render(text)
        except Exception:
            log.exception("markdown.failed", characters=len(text))
            return plain(text)

    def __repr__(self) -> str:
        """Show what waits and what is kept."""
        return f"<Renderer: {len(self._jobs)} texts with {self._waiting} characters wait, {self._kept}>"


async def _wait(jobs: Sequence[_Job], patience: float) -> None:
    """Wait until all are rendered, or for `patience` seconds."""
    waits = [asyncio.wrap_future(job.html) for job in jobs]
    try:
        if waits:
            await asyncio.wait(waits, timeout=patience)
    finally:
        for wait in waits:
            wait.cancel()


def _html(text: str, found: Markup | _Job | None) -> Markup:
    """Take what has come of a text."""
    if isinstance(found, _Job):
        return found.html.result() if found.html.done() else plain(text)
    return plain(text) if found is None else found


renderer = Renderer()
"""The one of this process."""
