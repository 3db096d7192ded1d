"""Which connections are accepted, and which ones are closed for them."""

from collections.abc import Callable
from typing import Any

import pytest

from blog.core.errors import TooMany, Unavailable
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_TIMEOUT


class Connection:
    """Stands for a connection: it records calls, and is released when it is closed."""

    def __init__(self, limiter: Any, address: str = "10.0.0.1") -> None:
        self.address = address
        self.idle_since: float | None = None
        self.calls: list[str] = []
        self.delivered = False
        self._limiter = limiter

    def abort(self) -> None:
        """Break off."""
        self.calls.append("abort")
        self._limiter.release(self)

    def close(self) -> None:
        """Close."""
        self.calls.append("close")
        self._limiter.release(self)

    def has_delivered(self) -> bool:
        """Say whether the client has everything."""
        return self.delivered

    def head_timed_out(self) -> None:
        """Say 408, or nothing."""
        self.calls.append("head_timed_out")


@pytest.fixture
def limiter() -> Any:
    """Allow two connections, both of which one address may have."""
    return ConnectionLimiter(2, 2)


@pytest.fixture
def connect(limiter: Any) -> Callable[..., tuple[Connection, Any]]:
    """Make a connection; return it, and why it was refused."""

    def connect(address: str = "10.0.0.1", now: float = 0.0) -> tuple[Connection, Any]:
        connection = Connection(limiter, address)
        return connection, limiter.acquire(connection, now)

    return connect


def test_one_address_cannot_have_every_connection(connect: Any) -> None:
    """It is told when to come again; others get in."""
    assert [connect()[1], connect()[1]] == [None, None]
    refusal = connect()[1]
    assert isinstance(refusal, TooMany)
    assert refusal.headers == {"Retry-After": "1"}
    assert connect("10.0.0.2")[1] is None


def test_the_oldest_without_a_head_makes_room(limiter: Any, connect: Any) -> None:
    """Who has said nothing yet loses the least."""
    (first, _), (second, _) = connect(), connect()
    _, refusal = connect("10.0.0.2")
    assert refusal is None
    assert (first.calls, second.calls) == (["abort"], [])
    assert len(limiter.open) == 2


def test_when_every_connection_is_busy_new_ones_are_refused(limiter: Any, connect: Any) -> None:
    """Nobody is broken off for another."""
    for connection in (connect()[0], connect()[0]):
        limiter.awaiting_head.cancel(connection)
    assert isinstance(connect("10.0.0.2")[1], Unavailable)


def test_a_connection_is_released_once(limiter: Any, connect: Any) -> None:
    """However often somebody leaves."""
    connection, _ = connect()
    limiter.release(connection)
    limiter.release(connection)
    assert repr(limiter) == "<ConnectionLimiter: 0 of 2; 0 awaiting a head, 0 idle, 0 lingering>"
    assert not limiter._of_address


def test_connections_whose_time_is_up_are_closed(limiter: Any, connect: Any) -> None:
    """Each in its way."""
    (late, _), (idle, _) = connect(), connect()
    limiter.awaiting_head.cancel(idle)
    idle.idle_since = 1.0
    limiter.sweep(HEAD_TIMEOUT - 0.1)
    assert late.calls == []
    limiter.sweep(HEAD_TIMEOUT + 0.1)
    assert late.calls == ["head_timed_out"]
    limiter.sweep(KEEPALIVE_TIMEOUT + 1.1)
    assert idle.calls == ["close"]
    limiter.start_lingering(late, 100.0)
    limiter.sweep(100.0 + LINGER_TIMEOUT)
    assert late.calls == ["head_timed_out", "abort"]


def test_what_closes_has_its_time_once(limiter: Any, connect: Any) -> None:
    """However often it is closed; what has left is not remembered."""
    (closing, _), (left, _) = connect(), connect()
    limiter.start_closing(closing, 0.0)
    limiter.start_closing(closing, IDLE_TIMEOUT - 1)
    limiter.sweep(IDLE_TIMEOUT)
    assert closing.calls == ["abort"]
    limiter.release(left)
    limiter.start_closing(left, 0.0)
    assert len(limiter.closing) == 0


def test_what_was_delivered_does_not_wait_for_the_client(limiter: Any, connect: Any) -> None:
    """A client that has everything, and does not close too, keeps no connection."""
    (delivered, _), (slow, _) = connect(), connect()
    for connection in (delivered, slow):
        limiter.start_closing(connection, 100.0)
    delivered.delivered = True
    limiter.sweep(100.0 + LINGER_TIMEOUT - 0.1)
    assert delivered.calls == []
    limiter.sweep(102.0 + LINGER_TIMEOUT)
    assert (delivered.calls, slow.calls) == (["abort"], [])


def test_who_is_told_goodbye_makes_room_after_who_says_nothing(limiter: Any, connect: Any) -> None:
    """Its response was sent; a new client needs the connection more."""
    (lingering, _), (silent, _) = connect(), connect()
    limiter.start_lingering(lingering, 0.0)
    assert connect("10.0.0.2", now=0.1)[1] is None
    assert (lingering.calls, silent.calls) == ([], ["abort"])
    third = connect("10.0.0.3", now=0.2)[0]
    assert third in limiter.open
    limiter.awaiting_head.cancel(third)
    assert connect("10.0.0.4", now=0.3)[1] is None
    assert lingering.calls == ["abort"]


def test_closing_ends_idle_connections(limiter: Any, connect: Any) -> None:
    """Requests under way are not broken off."""
    (idle, _), (busy, _) = connect(), connect()
    idle.idle_since = 0.0
    limiter.close_idle()
    assert (idle.calls, busy.calls, limiter.is_closing) == (["close"], [], True)
    limiter.abort_all()
    assert busy.calls == ["abort"]
