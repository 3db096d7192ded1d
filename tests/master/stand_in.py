"""A stand-in for a replica: a process that holds its lock as `blog NAME` does, and starts at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blog.master.runtimes import lock as replica_lock
from tests.e2e.conftest import wait_until

CLAIMS = (
    "import sys, time; from blog.master.runtimes.lock import claim;"
    " claim(int(sys.argv[1])); time.sleep(60)"
)
SILENT = "import time; time.sleep(60)"


def lock_of(data_dir: Path, name: str) -> Path:
    """Tell where the lock of a replica is."""
    path = data_dir / "run" / "copies" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def stand_in(path: Path, program: str = CLAIMS) -> Iterator[subprocess.Popen[bytes]]:
    """Run one that holds the lock `path` while the body runs; it has claimed it, if it ever does."""
    lock = replica_lock.acquire(path)
    assert lock is not None
    process = subprocess.Popen([sys.executable, "-c", program, str(lock)], pass_fds=(lock,))
    os.close(lock)
    try:
        if program is CLAIMS:
            wait_until(lambda: pid_of(path) == process.pid)
        yield process
    finally:
        process.kill()
        process.wait()


def pid_of(path: Path) -> int | None:
    """Return who has claimed a lock."""
    holder = replica_lock.find_holder(path)
    if holder is not None:
        os.close(holder.pidfd)
    return None if holder is None else holder.pid
