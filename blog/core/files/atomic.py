"""Atomic write: a file is there whole, as it was or as it is to be, and is on disk when that is said.

New content goes to a temporary file beside the target, which then takes its place. A writer holds its
temporary file locked; one that nobody holds was left by a crash, and the next write in that folder
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
    """Make `content` (text as UTF-8) what is in the file at `path`, which stays whole whatever happens.

    Its mode becomes `mode`, before the umask. Without `is_durable` nothing waits for the disk: after a
    power cut there may be the file before, or an empty one. Raises OSError, and then nothing has changed,
    except that a folder that cannot be put on disk may show the new file.
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
    """Put the file `source` in the place of `target`; return once both its content and name are on disk.

    Raises OSError.
    """
    sync(source)
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, mode: int) -> FileLock:
    """Make a file beside `path`, locked."""
    while True:
        temporary = path.with_name(f".{path.name}.{uuid4().hex}{_TEMPORARY}")
        try:
            lock = FileLock(temporary, mode=mode)
        except LockedError:  # another process is about to remove it as a leftover
            continue
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        # between its making and its lock another process may have removed it
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed; they may be of any target."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(OSError, LockedError), FileLock(path):  # OSError: somebody else's, or gone
            path.unlink(missing_ok=True)
