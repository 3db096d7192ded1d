"""How a text is rendered on a thread beside the event loop: without being in its way."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup

from blog.services.web.markdown import render


def courteous(text: str) -> Markup:
    """Render a text; the event loop goes first, and nothing stands still for it."""
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
