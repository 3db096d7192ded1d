"""Cooperative rendering: on a thread beside the event loop, without delaying it."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup

from blog.services.web.markdown import render


def render_cooperatively(text: str) -> Markup:
    """Render a text; the event loop goes first, and nothing stops for it."""
    with _no_collection():
        return render(text, _processor_time)


def _processor_time() -> float:
    """Return the CPU time of this thread; yield the interpreter to any thread that waits for it."""
    time.sleep(0)
    return time.thread_time()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Postpone the garbage collection until a text is done.

    A text may have a million tokens, none in a cycle. The collector would traverse all of them again and
    again, and everything in the process stops while it does.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
