"""Rendering beside the event loop: each text once, short ones first, and no page waits long for it.

The parser is Python: more threads would only compete, with each other and with the event loop. So there
is one, which lets the event loop go first; nothing else of this instance waits for it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from threading import Lock

from markupsafe import Markup

from blog.core.logs import get_logger
from blog.services.web.cooperative import render_cooperatively
from blog.services.web.html_cache import HtmlCache
from blog.services.web.jobs import Job, wait_for
from blog.services.web.markdown import plain

TIMEOUT = 3.0
"""Seconds that a page waits for its texts; one that is not rendered by then is shown as plain text."""
CACHE_SIZE = 32 << 20
"""Bytes of texts and HTML that are cached."""
MAX_QUEUED = 8 << 20
"""Characters of all texts in the queue; texts beyond that are shown as plain text."""

log = get_logger()


class Renderer:
    """Renders texts, and caches the HTML: also of those that were over the budget."""

    def __init__(
        self,
        render: Callable[[str], Markup] = render_cooperatively,
        *,
        cache_size: int = CACHE_SIZE,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._render = render
        self._max_queued = max_queued
        self._cache = HtmlCache(cache_size)
        self._jobs: dict[str, Job] = {}
        self._queue: list[tuple[int, int, Job]] = []
        self._queued = self._number = 0
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="markdown")

    async def render(self, texts: Sequence[str], timeout: float = TIMEOUT) -> list[Markup]:
        """Return the HTML of each text; plain text where it does not come within `timeout` seconds."""
        with self._lock:
            found = {text: self._find(text) for text in texts}
        jobs = [job for job in found.values() if isinstance(job, Job)]
        try:
            await wait_for(jobs, timeout)
        finally:
            self._release(jobs)
        return [_html(text, found[text]) for text in texts]

    def _find(self, text: str) -> Markup | Job | None:
        """Return the HTML of a text, or the job that makes it; None if the queue is full."""
        html = self._cache.get(text)
        if html is not None:
            return html
        job = self._jobs.get(text) or self._enqueue(text)
        if job is not None:
            job.waiters += 1
        return job

    def _enqueue(self, text: str) -> Job | None:
        if self._queued + len(text) > self._max_queued:
            return None
        job = self._jobs[text] = Job(text)
        self._number += 1
        self._queued += len(text)
        # the work that a text may cost grows with its length
        heappush(self._queue, (len(text), self._number, job))
        self._thread.submit(self._work)
        return job

    def _release(self, jobs: Sequence[Job]) -> None:
        """Stop waiting; a job that nobody waits for any more is not started."""
        with self._lock:
            for job in jobs:
                job.waiters -= 1
                if not job.waiters and not job.is_started and self._jobs.get(job.text) is job:
                    self._remove(job)
                    job.text = ""  # it stays in the queue, and is skipped there

    def _remove(self, job: Job) -> None:
        del self._jobs[job.text]
        self._queued -= len(job.text)

    def _work(self) -> None:
        """Render the shortest text that waits, if one still does."""
        job = self._next()
        if job is None:
            return
        html = self._render_safely(job.text)
        with self._lock:
            self._cache.put(job.text, html)
            self._remove(job)
        job.html.set_result(html)

    def _next(self) -> Job | None:
        with self._lock:
            while self._queue:
                job = heappop(self._queue)[-1]
                if job.waiters:
                    job.is_started = True
                    return job
        return None

    def _render_safely(self, text: str) -> Markup:
        """Render; an error of the parser must not keep a page from being shown."""
        try:
            return self._render(text)
        except Exception:
            log.exception("markdown.failed", characters=len(text))
            return plain(text)

    def __repr__(self) -> str:
        """Show what is queued and what is cached."""
        return f"<Renderer: {len(self._jobs)} texts with {self._queued} characters queued, {self._cache}>"


def _html(text: str, found: Markup | Job | None) -> Markup:
    """Return the HTML of a text, plain text if there is none yet."""
    if isinstance(found, Job):
        return found.html.result() if found.html.done() else plain(text)
    return plain(text) if found is None else found


renderer = Renderer()
"""The one of this process."""
