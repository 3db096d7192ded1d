"""Copy lock: a file that the process of a copy holds locked, from before it is forked until its end.

Nobody writes a process id down, so none can be stale, half-written or somebody else's by now: the kernel
keeps two locks on the file and frees both when the process ends. The master's (flock) is inherited by the
child: a name never runs twice, whatever dies when. The child's own (fcntl) tells by whom it is held.
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
    """A process that holds a lock, and a descriptor that means this process whatever its id comes to."""

    pid: int
    pidfd: int


def take(path: Path) -> int | None:
    """Lock the file for a child that will inherit the descriptor; None while a process has it."""
    try:
        return FileLock(path, mode=0o600).detach()
    except LockedError:
        return None


def claim(descriptor: int) -> None:
    """Say, in the child, that this process is the copy. It holds the descriptor until its end."""
    os.set_inheritable(descriptor, False)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(path: Path) -> LockHolder | None:
    """Find the process that has claimed it; None before it has, and when it is gone.

    Its pid is 0 where it is one of another container, which cannot be seen from here.
    """
    pid = _claimed_by(path)
    if not pid:
        return None if pid is None else LockHolder(0, -1)
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        # between the two looks it may have ended, and another one got its id
        if _claimed_by(path) == pid:
            return LockHolder(pid, pidfd)
        os.close(pidfd)
    return None


def _claimed_by(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
