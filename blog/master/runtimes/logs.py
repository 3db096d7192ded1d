"""Copy log: the file that a copy's output goes to (`logs/comments-2.log`), whoever writes it.

It is appended to only, by the copy itself where that is a process, so that it outlives the master. When
it is too long it is moved to `….log.1` and begins anew: written by the copy, it cannot be renamed.
"""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from blog.core.logs import get_logger

MAX_SIZE = 16 << 20
"""Bytes of a log at which it begins anew; the one before is kept, so twice as much is on the disk."""
REMEMBERED = 20
"""Lines that tell why a copy crashed."""
SHOWN = 100
"""Lines of the past that `blog logs` shows."""
_LOOK_EVERY = 5.0
_END = 16 << 10  # bytes, in which the last lines are looked for
_RECENT = 1 << 20  # bytes, in which what is told twice is looked for

log = get_logger()


class ReplicaLog:
    """The log of one copy, from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin = _size(path)

    def open(self) -> BinaryIO:
        """Open it for whoever writes it."""
        return self.path.open("ab", buffering=0)

    def recent(self) -> frozenset[bytes]:
        """Return the lines of its end, each with its line break."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, _size(self.path) - _RECENT))
            return frozenset(file.read(_RECENT).splitlines(keepends=True))
        return frozenset()

    def last_lines(self) -> list[str]:
        """Return the last lines that this copy logged, not those of an earlier one of its name."""
        try:
            with self.path.open("rb") as file:
                size = _size(self.path)
                begin = self._begin if self._begin <= size else 0
                file.seek(max(begin, size - _END))
                text = file.read(_END)
        except OSError:
            return []
        return text.decode(errors="replace").splitlines()[-REMEMBERED:]


def files(folder: Path, services: frozenset[str]) -> list[Path]:
    """List the logs of `services` (none named: all)."""
    found = sorted(folder.glob("*.log"))
    return [file for file in found if not services or file.stem.rpartition("-")[0] in services]


def news(file: Path, read: dict[Path, int]) -> bytes:
    """Return the whole lines added since the last look; at the first look only the last ones.

    `read` remembers how far each was read. Each line has the copy's name before it.
    """
    begin = read.get(file, 0)
    with file.open("rb") as handle:
        if begin > handle.seek(0, os.SEEK_END):  # it has begun anew
            begin = 0
        handle.seek(begin)
        text = handle.read()
    end = text.rfind(b"\n") + 1
    lines = text[:end].splitlines()
    if file not in read:
        lines = lines[-SHOWN:]
    read[file] = begin + end
    return b"".join(f"{file.stem} | ".encode() + line + b"\n" for line in lines)


async def keep_small(folder: Path) -> None:
    """Look after the logs in `folder`, for ever."""
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        await asyncio.to_thread(move_long, folder)


def move_long(folder: Path, max_size: int = MAX_SIZE) -> None:
    """Begin every log anew that is longer than `max_size`."""
    for path in folder.glob("*.log"):
        if _size(path) > max_size:
            _move(path)


def _move(path: Path) -> None:
    """Copy it, then cut it. A line that comes between the two is lost: microseconds in 16 MiB."""
    with suppress(OSError), path.open("r+b") as file:
        try:
            with path.with_suffix(".log.1").open("wb") as before:
                shutil.copyfileobj(file, before, 1 << 20)
        except OSError as error:  # a full disk: the new log needs the room
            log.warning("log.not_kept", path=str(path), why=str(error))
        file.truncate(0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
