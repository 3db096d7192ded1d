"""Threads that load a blog while a test does something to it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def running(stop: threading.Event, *works: Callable[[], None]) -> Iterator[None]:
    """Run each of `works` in a thread of its own while the body runs; they end when `stop` is set."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
