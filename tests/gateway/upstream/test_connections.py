"""The pool: which connections go back to it, and which never do."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from blog.core.background import TaskSupervisor
from blog.core.clock import SystemClock
from blog.core.instance import Instance, State
from blog.gateway.upstream.connections import ConnectionPool
from blog.gateway.upstream.upstreams import Upstream
from blog.http.client import ClientConnection
from blog.http.write_coalescer import WriteCoalescer


class Wire:
    """A transport that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_broken = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: self.done.append(name)

    def is_closing(self) -> bool:
        """Say whether it broke."""
        return self.is_broken


def connection() -> ClientConnection:
    """Make one that is open and idle."""
    made = ClientConnection(lambda _: None, WriteCoalescer(asyncio.get_running_loop()))
    made.connection_made(Wire())  # type: ignore[arg-type]
    return made


def upstream() -> Upstream:
    """Make one with no connections."""
    return Upstream(
        Instance(
            id="t-1",
            service="t",
            address="127.0.0.1:1",
            state=State.READY,
            started_at=SystemClock().now(),
        )
    )


class Nobody:
    """Waits for a connection; keeps what it got."""

    def __init__(self) -> None:
        self.got: list[ClientConnection] = []

    def connected(self, upstream: Upstream, connection: ClientConnection) -> bool:
        """Take it."""
        self.got.append(connection)
        return True

    def connect_failed(self, upstream: Upstream, why: str) -> None:
        """Take note."""


def _broken(one: ClientConnection) -> None:
    one.transport.is_broken = True  # type: ignore[attr-defined]


UNFIT: dict[str, Callable[[ClientConnection], Any]] = {
    "its answer is not read on": lambda one: one.pause_reading(),
    "the instance does not take the request": lambda one: one.pause_writing(),
    "the request is not sent yet": lambda one: one.write(b"rest of a body"),
    "its answer is not over": lambda one: one.send(Nobody(), b"GET", b""),  # type: ignore[arg-type]
    "the instance ends it": lambda one: one.eof_received(),
    "it broke a moment ago": _broken,
    "it was broken off": lambda one: one.abort(),
    "it is a tunnel": lambda one: one.detach(),
}


@pytest.mark.parametrize("why", UNFIT)
async def test_only_a_free_connection_goes_back(why: str) -> None:
    """Any other is broken off, whoever gives it back."""
    pool, at, one = ConnectionPool(TaskSupervisor("t"), SystemClock()), upstream(), connection()
    UNFIT[why](one)
    pool.release(at, one)
    assert not at.idle
    assert "abort" in one.transport.done  # type: ignore[attr-defined]


@pytest.mark.parametrize("why", UNFIT)
async def test_only_a_free_connection_comes_out(why: str) -> None:
    """What happened to it while it was idle counts as much; the next one is taken."""
    pool, at, one, free, nobody = (
        ConnectionPool(TaskSupervisor("t"), SystemClock()),
        upstream(),
        connection(),
        connection(),
        Nobody(),
    )
    for each in (free, one):
        pool.release(at, each)
    UNFIT[why](one)
    pool.acquire(at, nobody)
    assert nobody.got == [free]
    assert not at.idle


async def test_what_is_free_again_may_go_back() -> None:
    """Paused and gone on, both ways."""
    pool, at, one = ConnectionPool(TaskSupervisor("t"), SystemClock()), upstream(), connection()
    one.pause_reading()
    one.pause_writing()
    one.resume_writing()
    one.resume_reading()
    pool.release(at, one)
    assert at.idle == [one]


async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the resolver's order; the name is looked up in a thread that nobody waits for at the end."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, TaskSupervisor("t") as tasks:
        port = server.sockets[0].getsockname()[1]
        closed: list[str] = ["127.0.0.2"]
        seen: list[bool] = []

        def resolve(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
            seen.append(threading.current_thread().daemon)
            hosts = [*closed, "127.0.0.1"] if len(seen) == 1 else closed
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in hosts]

        pool, at = ConnectionPool(tasks, SystemClock()), upstream()
        at.instance = at.instance.model_copy(update={"address": f"posts:{port}"})
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        made = await pool._dial(at)
        assert made.is_reusable
        made.abort()
        with pytest.raises(ConnectionRefusedError):
            await pool._dial(at)
        assert seen == [True, True]
