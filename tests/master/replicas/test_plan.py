"""Desired replicas and what there is: what to start, what to stop, when to look again."""

import pytest

from blog.master.replicas.plan import HEALTHY_AFTER, Replica, plan


def replicas(service: str, *started: float) -> list[Replica]:
    """Give running replicas, numbered from 1, that were started at these times."""
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
    todo = plan({"c": desired}, replicas("c", *running), 10.0)
    assert [replica.name for replica in todo.start] == start
    assert [replica.name for replica in todo.stop] == stop


def test_a_number_is_free_when_its_replica_has_ended() -> None:
    """One that still drains keeps its name."""
    [draining] = replicas("c", 1.0)
    draining.is_stopping = True
    assert [replica.name for replica in plan({"c": 1}, [draining], 10.0).start] == ["c-2"]


def test_a_crashed_replica_waits_and_starts_again() -> None:
    """The same replica, when its time has come."""
    crashed = Replica("c", 1, started=1.0, start_at=12.0)
    waiting = plan({"c": 1}, [crashed], 10.0)
    assert (waiting.start, waiting.stop, waiting.next_check) == ([], [], 12.0)
    assert plan({"c": 1}, [crashed], 12.0).start == [crashed]


def crash(replica: Replica, lived: float) -> float:
    """Crash after `lived` seconds; return the seconds until the restart, which are up afterwards."""
    replica.started = 100.0
    delay = replica.crashed(100.0 + lived)
    assert replica.start_at == pytest.approx(100.0 + lived + delay)
    return delay


def test_delays_double_up_to_ten_seconds() -> None:
    """From 0.2 s."""
    replica = Replica("c", 1)
    delays = [crash(replica, 1.0) for _ in range(8)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert replica.is_crash_loop
    assert replica.is_failing


def test_a_million_crashes_are_no_end() -> None:
    """A replica that crashes for weeks is restarted every ten seconds, and nothing else happens."""
    replica = Replica("c", 1)
    assert {crash(replica, 1.0) for _ in range(10**6)} >= {0.2, 10.0}
    assert crash(replica, 1.0) == 10.0
    assert replica.restarts == replica.failures.count == 10**6 + 1


def test_half_a_minute_of_health_forgives() -> None:
    """The next crash is the first one again."""
    replica = Replica("c", 1)
    for _ in range(5):
        crash(replica, 1.0)
    assert crash(replica, HEALTHY_AFTER) == pytest.approx(0.2)
    assert not replica.is_crash_loop
    assert replica.restarts == 6


def test_who_is_to_go_first_goes_first() -> None:
    """Then whoever is down, then the newest."""
    oldest, middle, newest = replicas("c", 1.0, 2.0, 3.0)
    oldest.is_first_to_stop = True
    middle.is_running = False
    todo = plan({"c": 0}, [oldest, middle, newest], 10.0)
    assert [replica.name for replica in todo.stop] == ["c-3", "c-2", "c-1"]
    assert plan({"c": 2}, [oldest, middle, newest], 10.0).stop == [oldest]
    assert plan({"c": 1}, [oldest, middle, newest], 10.0).stop == [middle, oldest]
