"""A terminal of its own for a command: what is typed at it, and what it shows."""

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait until it is."""
    while not is_so():
        time.sleep(0.01)


@contextmanager
def terminal_of(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], FileIO]]:
    """Run `blog` at a terminal of its own, which Ctrl-C is typed at; it is killed where it never ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    code = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'blog', *sys.argv[1:]])"
    )
    mine, its = pty.openpty()
    with (
        os.fdopen(mine, "r+b", buffering=0) as keyboard,
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            env=clean | {"BLOG_REGISTRY": "http://127.0.0.1:1"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        ) as process,
    ):
        os.close(its)
        guard = threading.Timer(60, process.kill)
        guard.start()
        try:
            yield process, keyboard
        finally:
            guard.cancel()
            process.kill()
