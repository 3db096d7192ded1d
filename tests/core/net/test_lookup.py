"""Names are looked up by few threads, which nobody waits for."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blog.core.net.lookup import Lookups


class SlowResolver:
    """A resolver that responds when it may; `most` is how many it was asked for at once."""

    def __init__(self) -> None:
        self.may_respond = threading.Event()
        self.names: list[str] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def getaddrinfo(self, name: str, port: int, **_: Any) -> list[Any]:
        """Wait, unless the name is a fast one."""
        with self._lock:
            self.names.append(name)
            self.now += 1
            self.most = max(self.most, self.now)
        self.may_respond.wait(60)
        with self._lock:
            self.now -= 1
        if name == "missing":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        hosts = () if name == "empty" else ("10.0.0.1", "10.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowResolver]:
    """Give one; at the end it responds to everybody."""
    made = SlowResolver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.may_respond.set()


async def test_every_address_of_a_name_is_found(resolver: SlowResolver) -> None:
    """And a name without any is an error."""
    resolver.may_respond.set()
    lookups = Lookups(2)
    assert await lookups.find("posts", 80) == [
        (socket.AF_INET, ("10.0.0.1", 80)),
        (socket.AF_INET, ("10.0.0.2", 80)),
    ]
    for name in ("missing", "empty"):
        with pytest.raises(socket.gaierror):
            await lookups.find(name, 80)


async def test_so_many_at_once_and_the_others_have_their_turn(resolver: SlowResolver) -> None:
    """However many are asked for."""
    lookups = Lookups(3)
    tasks = [asyncio.create_task(lookups.find(f"n{number}", 80, 60)) for number in range(20)]
    async with asyncio.timeout(20):
        while resolver.now < 3:
            await asyncio.sleep(0.001)
        resolver.may_respond.set()
        await asyncio.gather(*tasks)
    assert (resolver.most, len(resolver.names)) == (3, 20)


async def test_what_nobody_waits_for_is_not_looked_up(resolver: SlowResolver) -> None:
    """Who has waited for a thread in vain is gone; a later one is served."""
    lookups = Lookups(1)
    for name in ("slow", "late"):
        with pytest.raises(TimeoutError, match="no response within"):
            await lookups.find(name, 80, 0.01)
    resolver.may_respond.set()
    async with asyncio.timeout(20):
        assert await lookups.find("posts", 80, 60)
    assert "late" not in resolver.names


async def test_a_loop_that_has_ended_hears_nothing(resolver: SlowResolver) -> None:
    """The thread ends all the same, and the same object serves another loop."""
    lookups = Lookups(1)

    def elsewhere() -> None:
        with pytest.raises(TimeoutError):
            asyncio.run(lookups.find("slow", 80, 0.01))

    await asyncio.to_thread(elsewhere)
    resolver.may_respond.set()
    async with asyncio.timeout(20):
        assert await lookups.find("posts", 80, 60)


_PROGRAM = """
import asyncio, socket, threading

started = threading.Event()

def never(*_, **__):
    started.set()
    threading.Event().wait()

socket.getaddrinfo = never

async def main():
    from blog.core.net.access_policy import AccessPolicy
    from blog.core.net.http_client import client_session
    from blog.core.net.routes import way_to
    from blog.registry.server.dial_target import DialTargets

    async with client_session() as http:
        dialled = DialTargets(AccessPolicy().networks).resolve("slow:1")
        tasks = [
            asyncio.create_task(work)
            for work in (dialled, http.get("http://slow:1/")._coro, way_to("http://slow:1", ()))
        ]
        while not started.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print("ends")

asyncio.run(main())
"""


def test_a_name_that_takes_for_ever_does_not_keep_a_process_from_ending() -> None:
    """Of an address to dial for a stranger, of a request, or of the way to a registry."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ends"), done.stderr
