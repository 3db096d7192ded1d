"""What a service declares, read once per row."""

from datetime import UTC, datetime, timedelta

import pytest

from blog.core.instance import Instance, Route, State
from blog.gateway import declarations
from blog.gateway.declarations import DeclaringService, Seniority, seniority_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int, *patterns: str, started: int = 0, state: State = State.READY) -> Instance:
    """Give an instance of `posts`."""
    return Instance(
        id=f"posts-{number:03}",
        service="posts",
        address="127.0.0.1:1",
        started_at=BEGIN + timedelta(seconds=started),
        state=state,
        routes=tuple(Route(method="GET", pattern=pattern) for pattern in patterns),
        metadata={"large": "x" * 1000},
    )


def test_what_many_declare_alike_is_declared_once() -> None:
    """By the first of them, and in the order in which they started; nothing else of a row is kept."""
    service = DeclaringService(BEGIN)
    service.update([row(3, "/b", "/c"), row(2, "/a"), row(1, "/a", started=5), row(0)])
    assert [(one.id, [route.pattern for route in one.routes]) for one in service.declared] == [
        ("posts-002", ["/a"]),
        ("posts-003", ["/b", "/c"]),
    ]
    assert service.size() == 3
    assert "large" not in repr(service.declared)


def test_routes_are_read_once_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often another row changes."""
    read: list[int] = []
    plain = declarations._plain

    def count(routes: tuple[Route, ...]) -> object:
        read.append(len(routes))
        return plain(routes)

    monkeypatch.setattr(declarations, "_plain", count)
    service = DeclaringService(BEGIN)
    rows = [row(number, "/a", "/b") for number in range(100)]
    service.update(rows)
    assert len(read) == 100
    for number in range(50):
        service.update([one.model_copy(update={"state": State.SUSPECT}) for one in rows[number:]])
    assert len(read) == 100
    service.update([*rows[50:], row(200, "/a", "/b"), row(201, "/other")])
    assert len(read) == 102
    service.leave()
    assert service.size() == 3
    assert not service._rows


def test_only_who_may_get_traffic_has_served() -> None:
    """And a service has served for good."""
    service = DeclaringService(BEGIN)
    for state in (State.STARTING, State.DRAINING):
        service.update([row(1, state=state)])
        assert not service.has_served
    for state in (State.SUSPECT, State.STARTING):
        service.update([row(1, state=state)])
        assert service.has_served


def test_the_older_service_comes_first() -> None:
    """By its first instance, whichever is there now."""
    service = DeclaringService(BEGIN + timedelta(seconds=3))
    service.update([row(1, "/a", started=2), row(2, "/b", started=9)])
    assert service.first_started == BEGIN + timedelta(seconds=2)
    service.update([row(2, "/b", started=9)])
    assert service.first_started == BEGIN + timedelta(seconds=2)
    assert seniority_of(service.declared) == {
        "posts": Seniority(False, BEGIN + timedelta(seconds=9), "posts")
    }
    assert Seniority(False, BEGIN + timedelta(1), "b") < Seniority(True, BEGIN, "a")
