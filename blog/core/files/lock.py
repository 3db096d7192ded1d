"""File lock: an advisory lock of a whole file (flock(2)), which the kernel frees when its holder ends.

Taking one never waits: it succeeds at once, or raises LockedError.
"""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Codes of the OSError of a file system without locks."""


class LockedError(Exception):
    """Another process holds the lock of the file `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is locked by another process")
        self.path = path


class FileLock:
    """The lock of the file at `path`, held until `close`. A context manager.

    The file is created with `mode`, before the umask, if it does not exist. A child process shares the
    lock only if it inherits the descriptor (`pass_fds`). There may be several shared locks, or one that
    is exclusive. Raises LockedError when the lock is taken, OSError when the file cannot be opened for
    writing or, if the lock `is_required`, the file system has no locks.
    """

    def __init__(
        self, path: Path, *, shared: bool = False, mode: int = 0o666, is_required: bool = True
    ) -> None:
        self.path = path
        # close-on-exec, as every descriptor that Python opens (PEP 446)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            _lock(self._descriptor, path, shared=shared)
        except OSError as error:
            if is_required or error.errno not in NO_LOCKS:
                self.close()
                raise
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._descriptor

    def detach(self) -> int:
        """Return the descriptor, which the caller owns from now on; the lock is held while it is open."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Release the lock. Does nothing the second time, and after `detach`."""
        if self._descriptor >= 0:
            os.close(self.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show the file, and whether it is held."""
        return f"<FileLock {self.path}, {'held' if self._descriptor >= 0 else 'released'}>"


def lock_for_life(path: Path, *, mode: int = 0o666) -> None:
    """Lock the file at `path` until this process ends. Raises LockedError, OSError.

    The descriptor stays open on purpose: waiting for the lock is waiting for the end of the process.
    """
    FileLock(path, mode=mode).detach()


def is_locked(path: Path) -> bool:
    """Return whether a process holds an exclusive lock; False when there is no file.

    Several processes may ask at the same time. Raises OSError when the file cannot be read.
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
    except OSError as error:  # flock knows only the descriptor
        raise OSError(error.errno, error.strerror, str(path)) from None
