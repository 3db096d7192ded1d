"""Lookup: the addresses of a name, without waiting for a resolver that is silent.

`getaddrinfo` blocks its thread for as long as it likes. These are daemon threads, which hold up no end of
a process (those of an executor do), only so many at once, and nobody waits longer than the time limit.
"""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

LOOKUP_TIMEOUT = 5.0
"""Seconds for the addresses of a name."""

Found: TypeAlias = list[tuple[socket.AddressFamily, tuple[Any, ...]]]
"""The addresses of a name: the family of each, and what `socket.connect` takes."""


class Lookups:
    """Looks names up in at most `at_once` threads, which end when there is nothing to do.

    A name that takes long has its thread until the resolver gives up: what must not wait for the names
    of others has its own `Lookups`.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._lock = threading.Lock()

    async def find(self, name: str, port: int, timeout: float = LOOKUP_TIMEOUT, **hints: int) -> Found:
        """Return every address of a name (never an empty list), within `timeout` seconds.

        `hints` are those of `getaddrinfo`: `type`, `family`, `flags`.
        Raises OSError (TimeoutError is one) and UnicodeError.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        work = partial(_look_up, loop, future, partial(_resolved, name, port, hints))
        self._start(work)
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            if future.done() and not future.cancelled():
                raise  # the resolver's own
            raise TimeoutError(f"no response within {timeout} s") from None
        finally:
            with self._lock, suppress(ValueError):
                self._waiting.remove(work)

    def _start(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(work)
            if self._threads >= self._at_once:
                return
            self._threads += 1
        threading.Thread(target=self._run, name="address lookup", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                work = self._waiting.popleft()
            work()

    def __repr__(self) -> str:
        """Show how many are under way."""
        return f"<Lookups: {self._threads} of {self._at_once} threads, {len(self._waiting)} wait>"


def _resolved(name: str, port: int, hints: dict[str, int]) -> Found:
    infos = socket.getaddrinfo(name, port, **{"type": socket.SOCK_STREAM, **hints})
    if not infos:
        raise socket.gaierror(socket.EAI_NONAME, "it has no address")
    return [(info[0], info[4]) for info in infos]


def _look_up(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Found], resolve: Callable[[], Found]
) -> None:
    """Resolve in this thread; tell the loop of `future`, if that waits still."""
    if future.done():
        return
    try:
        found = resolve()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told who waits
        tell = partial(_settle, future, future.set_exception, error)
    else:
        tell = partial(_settle, future, future.set_result, found)
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(tell)


def _settle(future: asyncio.Future[Found], settle: Callable[[Any], None], outcome: object) -> None:
    if not future.done():
        settle(outcome)
