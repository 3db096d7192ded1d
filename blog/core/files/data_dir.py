"""Data directory: one line that says why it cannot be used, and what to do about it."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blog.core.errors import SettingsError

_REASONS = {
    errno.EEXIST: "something that is not a folder is in its place",
    errno.ENOTDIR: "something that is not a folder is in its place",
    errno.EISDIR: "a folder is in the place of a file",
    errno.ELOOP: "its symbolic links go round in a circle",
    errno.ENOLCK: "its file system has no locks",
}
_DENIED = (errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = (*_FULL, errno.EFBIG)
"""Errors of writing; they name no file."""
_BROKEN = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_ELSEWHERE = "set another BLOG_DATA_DIR"


def reason(error: Exception) -> str:
    """Return what is wrong, for people, without the path."""
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return str(error)


def unusable(data_dir: Path, path: Path, error: Exception) -> SettingsError:
    """Make the error of a process that needs `path` in `data_dir`."""
    return SettingsError(
        f"BLOG_DATA_DIR={data_dir}: {path} cannot be used by user {os.geteuid()}: {reason(error)};"
        f" {_remedy(data_dir, path, error)}."
    )


@contextmanager
def needed(data_dir: Path) -> Iterator[None]:
    """Translate an OSError of the body into a SettingsError that says what to do."""
    try:
        yield
    except OSError as error:
        raise unusable(data_dir, _named(error) or data_dir, error) from None


def concerning(data_dir: Path, error: OSError) -> SettingsError | None:
    """Return the error to show for an OSError about a file in `data_dir`; None for any other."""
    path = _named(error)
    if path is None:
        # an error of writing names no file; sockets and pipes are never full in this way
        return unusable(data_dir, data_dir, error) if error.errno in DISK_FULL else None
    return unusable(data_dir, path, error) if _is_within(path, data_dir) else None


def _named(error: OSError) -> Path | None:
    """Return the file that an error names."""
    named = error.filename
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None


def _is_within(path: Path, folder: Path) -> bool:
    """Return whether `path` is in `folder`, however both are written."""
    if path.is_relative_to(folder):
        return True
    try:
        return any(
            Path(way(path)).is_relative_to(way(folder)) for way in (os.path.abspath, os.path.realpath)
        )
    except (OSError, ValueError):  # the working directory was removed
        return False


def _remedy(data_dir: Path, path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    kind = str(getattr(error, "sqlite_errorname", "")) if isinstance(error, sqlite3.Error) else ""
    if number in DISK_FULL or kind.startswith("SQLITE_FULL"):
        return f"make room, or {_ELSEWHERE}"
    if number == errno.EROFS:
        return f"mount it so that it can be written, or {_ELSEWHERE}"
    if kind.startswith(_BROKEN):
        return "restore a copy with `blog log restore`"
    if number in _DENIED or kind.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return _grant(data_dir, path)
    return _ELSEWHERE


def _grant(data_dir: Path, path: Path) -> str:
    """Return how to let this user write there; for root, permissions are not the reason."""
    user, owner = os.geteuid(), _owner(path)
    if user in (0, owner):
        return f"see what `ls -ld {path}` says, or {_ELSEWHERE}"
    run_as = "" if owner is None else f", run as user {owner} (`--user {owner}`)"
    return f"`chown -R {user} {data_dir}`{run_as}, or {_ELSEWHERE}"


def _owner(path: Path) -> int | None:
    """Return the owner of the path, or of its nearest parent that exists."""
    for place in (path, *path.parents):
        try:
            return place.stat().st_uid
        except OSError:
            continue
    return None
