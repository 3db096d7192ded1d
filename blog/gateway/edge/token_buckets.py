"""Token buckets: when the bucket of each client is full again, in memory that processes may share.

A table of fixed size: rows of eight slots, and a client has a slot in one row, by a keyed hash. Where a
row is full, a new client shares the slot that is full again soonest: memory stays as it is however many
addresses there are, and all of them together never get more than so many slots would.

A row is changed under a lock of its own (`fcntl`), which the kernel releases when a process dies.
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
_DIGEST = struct.Struct("QQ")

_TRIES, _PAUSE = 1000, 0.0001
"""How often to try to lock a row, and the seconds between: a stopped process must not block others."""

Spend = Callable[[float], tuple[float, float]]
"""When the bucket is full again → the same after this write, and the seconds to wait."""


@contextmanager
def shared_memory() -> Iterator[int]:
    """Make memory for the buckets of several processes; yield its descriptor, which they inherit."""
    fd = os.memfd_create("blog-buckets")
    try:
        os.ftruncate(fd, _SIZE)
        os.pwrite(fd, _new_key(), 0)
        yield fd
    finally:
        os.close(fd)


class TokenBuckets:
    """The table: in memory of its own, or in that of the descriptor `shared`."""

    def __init__(self, shared: int | None = None) -> None:
        self._shared = shared
        self._memory = mmap.mmap(-1 if shared is None else shared, _SIZE)
        if shared is None:
            self._memory[:_KEY_SIZE] = _new_key()
        self._key = self._memory[:_KEY_SIZE]

    def update(self, client: str, spend: Spend) -> float:
        """Let `client` spend; return the seconds that it has to wait."""
        number, tag = self._slot_of(client)
        offset = _KEY_SIZE + number * _ROW.size
        with self._locked(number):
            row = _ROW.unpack_from(self._memory, offset)
            tags, untils = row[:_WAYS], row[_WAYS:]
            slot = find_slot(tag, tags, untils)
            until, wait = spend(untils[slot])
            struct.pack_into("Q", self._memory, offset + 8 * slot, tag)
            struct.pack_into("d", self._memory, offset + 8 * (_WAYS + slot), until)
        return wait

    def count(self, now: float) -> int:
        """Count the clients whose bucket is not full at `now`."""
        return sum(
            until > now
            for row in _ROW.iter_unpack(self._memory[_KEY_SIZE:])
            for until in row[_WAYS:]
        )  # fmt: skip

    def _slot_of(self, client: str) -> tuple[int, int]:
        """Return the row of a client, and its tag there."""
        digest = blake2b(client.encode(), key=self._key, digest_size=_DIGEST.size).digest()
        row, tag = _DIGEST.unpack(digest)
        return row % _ROWS, tag

    @contextmanager
    def _locked(self, row: int) -> Iterator[None]:
        """Lock a row against other processes."""
        if self._shared is None or not _lock(self._shared, row):
            yield
            return
        try:
            yield
        finally:
            fcntl.lockf(self._shared, fcntl.LOCK_UN, 1, row)

    def __repr__(self) -> str:
        """Show whether the memory is shared."""
        return f"<TokenBuckets: {'own' if self._shared is None else 'shared'}, {_ROWS * _WAYS} slots>"


def find_slot(tag: int, tags: tuple[int, ...], untils: tuple[float, ...]) -> int:
    """Return the slot of `tag` in a row: its own, else the one that is full again soonest. Pure."""
    return tags.index(tag) if tag in tags else untils.index(min(untils))


def _lock(fd: int, row: int) -> bool:
    """Lock a row. Not at any price: one write too many does less harm than a port that hangs."""
    for _ in range(_TRIES):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            time.sleep(_PAUSE)
        except OSError:
            return False  # the kernel cannot hold another lock
        else:
            return True
    return False


def _new_key() -> bytes:
    return secrets.token_bytes(_KEY_SIZE)
