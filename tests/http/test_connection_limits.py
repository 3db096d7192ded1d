"""Who gets a place at the door, and who makes room."""

from collections.abc import Callable
from typing import Any

import pytest

from blog.core.errors import TooMany, Unavailable
from blog.http.connection_limits import ConnectionLimiter
from blog.http.limits import HEAD_TIMEOUT, IDLE_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_TIMEOUT


class Connection:
    """Stands for a connection: it notes what is done to it, and leaves when it is closed."""

    def __init__(self, places: ConnectionLimiter, address: str = "10.0.0.1") -> None:
        self.address = address
        self.idle_since: float | None = None
        self.heard: list[str] = []
        self.delivered = False
        self._places: Any = places

    def abort(self) -> None:
        """Break off."""
        self.heard.append("abort")
        self._places.leave(self)

    def close(self) -> None:
        """Close."""
        self.heard.append("close")
        self._places.leave(self)

    def has_delivered(self) -> bool:
        """Say whether the client has everything."""
        return self.delivered

    def head_is_late(self) -> None:
        """Say 408, or nothing."""
        self.heard.append("late")


@pytest.fixture
def places() -> Any:
    """Make a door with two places, both of which one address may have."""
    return ConnectionLimiter(2, 2)


@pytest.fixture
def come(places: Any) -> Callable[..., tuple[Connection, Any]]:
    """Let a connection come; return it, and why it was refused."""

    def come(address: str = "10.0.0.1", now: float = 0.0) -> tuple[Connection, Any]:
        connection = Connection(places, address)
        return connection, places.take(connection, now)

    return come


def test_one_address_cannot_have_every_place(come: Any) -> None:
    """It is told to come again; others get in."""
    assert [come()[1], come()[1]] == [None, None]
    refusal = come()[1]
    assert isinstance(refusal, TooMany)
    assert refusal.headers == {"Retry-After": "1"}
    assert come("10.0.0.2")[1] is None


def test_the_oldest_without_a_head_makes_room(places: Any, come: Any) -> None:
    """Who has said nothing yet loses the least."""
    (first, _), (second, _) = come(), come()
    _, refusal = come("10.0.0.2")
    assert refusal is None
    assert (first.heard, second.heard) == (["abort"], [])
    assert len(places.open) == 2


def test_when_everybody_is_at_work_the_door_is_full(places: Any, come: Any) -> None:
    """Nobody is broken off for another."""
    for connection in (come()[0], come()[0]):
        places.headless.end(connection)
    assert isinstance(come("10.0.0.2")[1], Unavailable)


def test_places_are_given_back_once(places: Any, come: Any) -> None:
    """However often somebody leaves."""
    connection, _ = come()
    places.leave(connection)
    places.leave(connection)
    assert repr(places) == "<ConnectionLimiter: 0 of 2; 0 without a head, 0 idle, 0 lingering>"
    assert not places._of


def test_whoever_had_their_time_is_ended(places: Any, come: Any) -> None:
    """Each in its way."""
    (late, _), (idle, _) = come(), come()
    places.headless.end(idle)
    idle.idle_since = 1.0
    places.sweep(HEAD_TIMEOUT - 0.1)
    assert late.heard == []
    places.sweep(HEAD_TIMEOUT + 0.1)
    assert late.heard == ["late"]
    places.sweep(KEEPALIVE_TIMEOUT + 1.1)
    assert idle.heard == ["close"]
    places.linger(late, 100.0)
    places.sweep(100.0 + LINGER_TIMEOUT)
    assert late.heard == ["late", "abort"]


def test_what_closes_has_its_time_once(places: Any, come: Any) -> None:
    """However often it is closed; what has left is not remembered."""
    (closing, _), (left, _) = come(), come()
    places.close(closing, 0.0)
    places.close(closing, IDLE_TIMEOUT - 1)
    places.sweep(IDLE_TIMEOUT)
    assert closing.heard == ["abort"]
    places.leave(left)
    places.close(left, 0.0)
    assert len(places.closing) == 0


def test_what_was_delivered_waits_for_no_goodbye(places: Any, come: Any) -> None:
    """A client that has everything, and does not say that it closes too, keeps no place."""
    (delivered, _), (slow, _) = come(), come()
    for connection in (delivered, slow):
        places.close(connection, 100.0)
    delivered.delivered = True
    places.sweep(100.0 + LINGER_TIMEOUT - 0.1)
    assert delivered.heard == []
    places.sweep(102.0 + LINGER_TIMEOUT)
    assert (delivered.heard, slow.heard) == (["abort"], [])


def test_who_is_told_goodbye_makes_room_after_who_says_nothing(places: Any, come: Any) -> None:
    """Its response was sent; a newcomer needs the place more."""
    (told, _), (silent, _) = come(), come()
    places.linger(told, 0.0)
    assert come("10.0.0.2", now=0.1)[1] is None
    assert (told.heard, silent.heard) == ([], ["abort"])
    third = come("10.0.0.3", now=0.2)[0]
    assert third in places.open
    places.headless.end(third)
    assert come("10.0.0.4", now=0.3)[1] is None
    assert told.heard == ["abort"]


def test_closing_ends_who_waits_for_nothing(places: Any, come: Any) -> None:
    """Requests under way are not broken off."""
    (idle, _), (busy, _) = come(), come()
    idle.idle_since = 0.0
    places.close_idle()
    assert (idle.heard, busy.heard, places.is_closing) == (["close"], [], True)
    places.abort_all()
    assert busy.heard == ["abort"]
