"""Replica lock: a file that a replica's process holds locked, from before it is forked until its end.

No process id is written to the file, so none can be stale, half-written or another process's by now: the
kernel keeps two locks and frees both when the process ends. The master's (flock) is inherited by the
child: a name never runs twice, whatever dies when. The child's own (fcntl) says which process holds it.
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from blog.core.files.lock import FileLock, LockedError

_FLOCK = "@hhqqi0q"  # struct flock: type, whence, start, length, pid; padded as the compiler does


class LockHolder(NamedTuple):
    """A process that holds a lock, and a descriptor that means this process even if its id is reused."""

    pid: int
    pidfd: int


def acquire(path: Path) -> int | None:
    """Lock the file for a child that will inherit the descriptor; None while a process holds it."""
    try:
        return FileLock(path, mode=0o600).detach()
    except LockedError:
        return None


def claim(descriptor: int) -> None:
    """Mark this process, the child, as the holder. It keeps the descriptor open until its end."""
    os.set_inheritable(descriptor, False)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def find_holder(path: Path) -> LockHolder | None:
    """Return the process that has claimed the lock; None before it has, and after its end.

    Its pid is 0 if it runs in another container and cannot be seen from here.
    """
    pid = _claimant(path)
    if not pid:
        return None if pid is None else LockHolder(0, -1)
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        # meanwhile it may have ended, and another process may have got its id
        if _claimant(path) == pid:
            return LockHolder(pid, pidfd)
        os.close(pidfd)
    return None


def _claimant(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, query))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
