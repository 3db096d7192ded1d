"""File lock: an advisory lock of a whole file (flock(2)), which the kernel frees when its holder ends.

Nobody waits for one: it is had at once, or LockedError says that somebody else has it.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class LockedError(Exception):
    """Somebody else holds the lock of the file `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is locked by another process")
        self.path = path


class FileLock:
    """The lock of the file at `path`, made if there is none; held until `close`. A context manager.

    `mode` is that of a new file, before the umask. A child process gets the lock only if it is given the
    descriptor (`pass_fds`). Shared locks go together, an exclusive one goes with none. Raises LockedError
    when somebody else has it, OSError when the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, shared: bool = False, mode: int = 0o666) -> None:
        self.path = path
        # close-on-exec, as every descriptor that Python opens (PEP 446)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            _lock(self._descriptor, path, shared=shared)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._descriptor

    def detach(self) -> int:
        """Return the descriptor, which is the caller's from now on: whoever has it has the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Give the lock back. Does nothing the second time, and after `detach`."""
        if self._descriptor >= 0:
            os.close(self.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show of which file it is."""
        return f"<FileLock {self.path}, {'held' if self._descriptor >= 0 else 'given back'}>"


def lock_for_life(path: Path, *, mode: int = 0o666) -> None:
    """Lock the file at `path` until this process ends. Raises LockedError, OSError.

    Its descriptor stays open on purpose: who waits for the lock waits for the end of the process.
    """
    FileLock(path, mode=mode).detach()


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the file exclusively; False when there is none.

    Several may look at the same time. Raises OSError when it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        _lock(descriptor, path, shared=True)
    except LockedError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, path: Path, *, shared: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(path) from None
