"""Rendering beside the event loop: each text once, short ones first, and no page waits long for it.

The parser is Python: more threads would only take turns, with each other and with the event loop. So
there is one, of its own, which lets the event loop go first; nothing else of this instance waits for it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from threading import Lock

from markupsafe import Markup

from blog.core.logs import get_logger
from blog.services.web.courtesy import courteous
from blog.services.web.html_cache import HtmlCache
from blog.services.web.jobs import Job, wait_for
from blog.services.web.markdown import plain

PATIENCE = 3.0
"""Seconds that a page waits for its texts; what is not rendered by then is shown as it was typed."""
MOST_KEPT = 32 << 20
"""Bytes of texts and HTML that are kept."""
MOST_WAITING = 8 << 20
"""Characters of all texts that wait; what comes on top is shown as it was typed."""

log = get_logger()


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
        self._jobs: dict[str, Job] = {}
        self._queue: list[tuple[int, int, Job]] = []
        self._waiting = self._number = 0
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="markdown")

    async def render(self, texts: Sequence[str], patience: float = PATIENCE) -> list[Markup]:
        """Return the HTML of each text; plain text where it does not come within `patience` seconds."""
        with self._lock:
            found = {text: self._find(text) for text in texts}
        jobs = [job for job in found.values() if isinstance(job, Job)]
        try:
            await wait_for(jobs, patience)
        finally:
            self._leave(jobs)
        return [_html(text, found[text]) for text in texts]

    def _find(self, text: str) -> Markup | Job | None:
        """Return what a text became, or the job that makes it; None if too much waits already."""
        html = self._kept.find(text)
        if html is not None:
            return html
        job = self._jobs.get(text) or self._begin(text)
        if job is not None:
            job.pages += 1
        return job

    def _begin(self, text: str) -> Job | None:
        if self._waiting + len(text) > self._most_waiting:
            return None
        job = self._jobs[text] = Job(text)
        self._number += 1
        self._waiting += len(text)
        # the work that a text may cost grows with its length
        heappush(self._queue, (len(text), self._number, job))
        self._thread.submit(self._work)
        return job

    def _leave(self, jobs: Sequence[Job]) -> None:
        """Wait no longer; what nobody waits for any more is not begun."""
        with self._lock:
            for job in jobs:
                job.pages -= 1
                if not job.pages and not job.is_begun and self._jobs.get(job.text) is job:
                    self._forget(job)
                    job.text = ""  # its place in the queue is left to be passed over

    def _forget(self, job: Job) -> None:
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

    def _next(self) -> Job | None:
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


def _html(text: str, found: Markup | Job | None) -> Markup:
    """Take what has come of a text."""
    if isinstance(found, Job):
        return found.html.result() if found.html.done() else plain(text)
    return plain(text) if found is None else found


renderer = Renderer()
"""The one of this process."""
