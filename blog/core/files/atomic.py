"""Atomic write: a file has its old content or its new content, never a part of it, also after a crash.

New content goes to a temporary file beside the target, which then replaces it. A writer keeps its
temporary file locked; one that is not locked was left by a crash, and the next write in that folder
removes it.
"""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from blog.core.files.lock import FileLock, LockedError

_TEMPORARY = ".blog-tmp"


def write_atomically(
    path: Path, content: bytes | str, *, mode: int = 0o666, is_durable: bool = True
) -> None:
    """Replace the file at `path` by one with `content` (text as UTF-8) and `mode`, before the umask.

    It is on disk, with its name, on return. Without `is_durable` nothing waits for the disk: after a
    power cut the old file may be there, or an empty one. Raises OSError; then the old file is still
    there, unless it was only the folder that could not be synced.
    """
    data = content.encode() if isinstance(content, str) else content
    _remove_leftovers(path.parent)
    lock = _temporary(path, mode)
    with lock:
        try:
            _write(lock.fileno(), data)
            if is_durable:
                os.fsync(lock.fileno())
            lock.path.replace(path)
        except BaseException:
            lock.path.unlink(missing_ok=True)
            raise
    if is_durable:
        sync(path.parent)


def replace_durably(source: Path, target: Path) -> None:
    """Rename the file `source` to `target`; return once its content and its name are on disk.

    Raises OSError.
    """
    sync(source)
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, mode: int) -> FileLock:
    """Create a file beside `path`, locked."""
    while True:
        temporary = path.with_name(f".{path.name}.{uuid4().hex}{_TEMPORARY}")
        try:
            # where there are no locks, a file can still be replaced
            lock = FileLock(temporary, mode=mode, is_required=False)
        except LockedError:  # another process is about to remove it as a leftover
            continue
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        # before it was locked, another process may have removed it as a leftover
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left, whatever their target was."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(OSError, LockedError), FileLock(path):  # OSError: another user's, or gone
            path.unlink(missing_ok=True)
