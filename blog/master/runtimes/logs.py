"""Replica log: the file that a replica's output goes to (`logs/comments-2.log`), and its rotation.

A replica that is a process appends to it itself, so that the log outlives the master. A long log is
copied to `….log.1` and truncated (logrotate: copytruncate), because its writer keeps the file open.
"""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from blog.core.logs import get_logger

MAX_SIZE = 16 << 20
"""Bytes at which a log is rotated; one rotated log is kept, so twice as much may be on the disk."""
REMEMBERED = 20
"""Lines that are kept to say why a replica crashed."""
SHOWN = 100
"""Lines of the past that `blog logs` shows."""
_POLL_INTERVAL = 5.0
_END = 16 << 10  # bytes, in which the last lines are looked for
_RECENT = 1 << 20  # bytes, in which repeated lines are looked for

log = get_logger()


class ReplicaLog:
    """The log of one replica that starts now; earlier lines are those of others of its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin = _size(path)

    def open(self) -> BinaryIO:
        """Open it for appending, unbuffered."""
        return self.path.open("ab", buffering=0)

    def recent(self) -> frozenset[bytes]:
        """Return the lines of its end, each with its line break."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, _size(self.path) - _RECENT))
            return frozenset(file.read(_RECENT).splitlines(keepends=True))
        return frozenset()

    def last_lines(self) -> list[str]:
        """Return the last lines that this replica logged, not those of an earlier one of its name."""
        try:
            with self.path.open("rb") as file:
                size = _size(self.path)
                begin = self._begin if self._begin <= size else 0
                file.seek(max(begin, size - _END))
                text = file.read(_END)
        except OSError:
            return []
        return text.decode(errors="replace").splitlines()[-REMEMBERED:]


def log_files(folder: Path, services: frozenset[str]) -> list[Path]:
    """List the logs of `services`, of all if none is named."""
    found = sorted(folder.glob("*.log"))
    return [file for file in found if not services or file.stem.rpartition("-")[0] in services]


def read_new_lines(file: Path, offsets: dict[Path, int]) -> bytes:
    """Return the complete lines that were added since the last call; at the first call the last ones.

    `offsets` remembers how far each file was read. Each line begins with the replica's name.
    """
    begin = offsets.get(file, 0)
    with file.open("rb") as handle:
        if begin > handle.seek(0, os.SEEK_END):  # it was truncated
            begin = 0
        handle.seek(begin)
        text = handle.read()
    end = text.rfind(b"\n") + 1
    lines = text[:end].splitlines()
    if file not in offsets:
        lines = lines[-SHOWN:]
    offsets[file] = begin + end
    return b"".join(f"{file.stem} | ".encode() + line + b"\n" for line in lines)


async def rotate_for_ever(folder: Path) -> None:
    """Rotate long logs in `folder`, for ever."""
    while True:
        await asyncio.sleep(_POLL_INTERVAL)
        await asyncio.to_thread(rotate, folder)


def rotate(folder: Path, max_size: int = MAX_SIZE) -> None:
    """Rotate every log that is longer than `max_size`."""
    for path in folder.glob("*.log"):
        if _size(path) > max_size:
            _copy_and_truncate(path)


def _copy_and_truncate(path: Path) -> None:
    """Copy it, then truncate it. A line that comes between the two is lost: microseconds in 16 MiB."""
    with suppress(OSError), path.open("r+b") as file:
        try:
            with path.with_suffix(".log.1").open("wb") as before:
                shutil.copyfileobj(file, before, 1 << 20)
        except OSError as error:  # a full disk: the new log needs the space
            log.warning("log.rotation_failed", path=str(path), reason=str(error))
        file.truncate(0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
