"""Desired copies and what there is: what to start, what to stop, when to look again."""

import pytest

from blog.master.replicas.plan import HEALTHY_AFTER, CrashBackoff, Replica, plan


def copies(service: str, *started: float) -> list[Replica]:
    """Give running copies, numbered from 1, that were started at these times."""
    return [Replica(service, n, at, is_running=True) for n, at in enumerate(started, 1)]


@pytest.mark.parametrize(
    ("desired", "running", "start", "stop"),
    [
        (0, [], [], []),
        (2, [], ["c-1", "c-2"], []),
        (3, [1.0], ["c-2", "c-3"], []),
        (1, [1.0, 2.0, 3.0], [], ["c-2", "c-3"]),
        (1, [3.0, 1.0, 2.0], [], ["c-3", "c-1"]),
        (2, [1.0, 2.0], [], []),
    ],
)
def test_the_difference(desired: int, running: list[float], start: list[str], stop: list[str]) -> None:
    """Missing ones get the lowest free numbers; victims are the newest."""
    todo = plan({"c": desired}, copies("c", *running), 10.0)
    assert [copy.name for copy in todo.start] == start
    assert [copy.name for copy in todo.stop] == stop


def test_a_number_is_free_when_its_copy_has_ended() -> None:
    """One that still drains keeps its name."""
    [draining] = copies("c", 1.0)
    draining.is_stopping = True
    assert [copy.name for copy in plan({"c": 1}, [draining], 10.0).start] == ["c-2"]


def test_a_crashed_copy_waits_and_starts_again() -> None:
    """The same copy, when its time has come."""
    crashed = Replica("c", 1, started=1.0, start_at=12.0)
    waiting = plan({"c": 1}, [crashed], 10.0)
    assert (waiting.start, waiting.stop, waiting.look_again) == ([], [], 12.0)
    assert plan({"c": 1}, [crashed], 12.0).start == [crashed]


def test_delays_double_up_to_ten_seconds() -> None:
    """From 0.2 s."""
    backoff = CrashBackoff()
    delays = [backoff.crashed(1.0) for _ in range(8)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert backoff.is_loop


def test_half_a_minute_of_health_forgives() -> None:
    """The next crash is the first one again."""
    backoff = CrashBackoff()
    for _ in range(5):
        backoff.crashed(1.0)
    assert backoff.crashed(HEALTHY_AFTER) == pytest.approx(0.2)
    assert not backoff.is_loop
    assert backoff.total == 6


def test_who_is_to_go_first_goes_first() -> None:
    """Then whoever is down, then the newest."""
    oldest, middle, newest = copies("c", 1.0, 2.0, 3.0)
    oldest.goes_first = True
    middle.is_running = False
    todo = plan({"c": 0}, [oldest, middle, newest], 10.0)
    assert [copy.name for copy in todo.stop] == ["c-3", "c-2", "c-1"]
    assert plan({"c": 2}, [oldest, middle, newest], 10.0).stop == [oldest]
    assert plan({"c": 1}, [oldest, middle, newest], 10.0).stop == [middle, oldest]
