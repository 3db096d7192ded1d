"""Buckets: until when each client has written ahead, in memory that processes may share.

A table of fixed size: rows of eight places, and a client has a place in one row, by a keyed hash. Where a
row is full, a new client goes on with the place that has least to wait: memory stays as it is however
many addresses there are, and all of them together never get more than so many places would.

A row is changed under a lock of its own (`fcntl`), which the kernel takes back from a process that dies.
"""

import fcntl
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

_WAYS = 8
_ROWS = 1 << 14
_ROW = struct.Struct(f"{_WAYS}Q{_WAYS}d")
_KEY_SIZE = 64  # as much as a row needs to stay aligned
_SIZE = _KEY_SIZE + _ROWS * _ROW.size
_WHO = struct.Struct("QQ")

_TRIES, _PAUSE = 1000, 0.0001
"""How often to try to lock a row, and the seconds between: a stopped process holds nobody up for long."""

Spend = Callable[[float], tuple[float, float]]
"""Until when it has written ahead → the same after this write, and the seconds it has to wait."""


@contextmanager
def shared() -> Iterator[int]:
    """Have memory for the buckets of several processes; give its descriptor, which they inherit."""
    fd = os.memfd_create("blog-buckets")
    try:
        os.ftruncate(fd, _SIZE)
        os.pwrite(fd, _new_key(), 0)
        yield fd
    finally:
        os.close(fd)


class TokenBuckets:
    """The table: in memory of its own, or in that of `shared`."""

    def __init__(self, shared: int | None = None) -> None:
        self._shared = shared
        self._memory = mmap.mmap(-1 if shared is None else shared, _SIZE)
        if shared is None:
            self._memory[:_KEY_SIZE] = _new_key()
        self._key = self._memory[:_KEY_SIZE]

    def change(self, who: str, spend: Spend) -> float:
        """Let `who` spend; return the seconds that it has to wait."""
        number, name = self._place_of(who)
        offset = _KEY_SIZE + number * _ROW.size
        with self._alone(number):
            row = _ROW.unpack_from(self._memory, offset)
            names, untils = row[:_WAYS], row[_WAYS:]
            place = find(name, names, untils)
            until, wait = spend(untils[place])
            struct.pack_into("Q", self._memory, offset + 8 * place, name)
            struct.pack_into("d", self._memory, offset + 8 * (_WAYS + place), until)
        return wait

    def count(self, now: float) -> int:
        """Count the clients that have written ahead of `now`."""
        return sum(
            until > now
            for row in _ROW.iter_unpack(self._memory[_KEY_SIZE:])
            for until in row[_WAYS:]
        )  # fmt: skip

    def _place_of(self, who: str) -> tuple[int, int]:
        """Return the row of a client, and its name there."""
        digest = blake2b(who.encode(), key=self._key, digest_size=_WHO.size).digest()
        row, name = _WHO.unpack(digest)
        return row % _ROWS, name

    @contextmanager
    def _alone(self, row: int) -> Iterator[None]:
        """Keep other processes from a row meanwhile."""
        if self._shared is None or not _lock(self._shared, row):
            yield
            return
        try:
            yield
        finally:
            fcntl.lockf(self._shared, fcntl.LOCK_UN, 1, row)

    def __repr__(self) -> str:
        """Show whose they are."""
        return f"<TokenBuckets: {'own' if self._shared is None else 'shared'}, {_ROWS * _WAYS} places>"


def find(name: int, names: tuple[int, ...], untils: tuple[float, ...]) -> int:
    """Find the place of `name` in a row: its own, else the one that has least to wait. Pure."""
    return names.index(name) if name in names else untils.index(min(untils))


def _lock(fd: int, row: int) -> bool:
    """Lock a row. Not for ever: one write too many does less harm than a port that hangs."""
    for _ in range(_TRIES):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except (BlockingIOError, PermissionError):  # POSIX leaves open which
            time.sleep(_PAUSE)
        except OSError:
            return False  # the kernel has no room for another lock
        else:
            return True
    return False


def _new_key() -> bytes:
    return secrets.token_bytes(_KEY_SIZE)
