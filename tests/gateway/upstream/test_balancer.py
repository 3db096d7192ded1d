"""Whose turn it is, with what was learnt."""

from typing import Any

import pytest

from blog.core.instance import Route, State
from blog.gateway.telemetry.stats import FORGOTTEN
from blog.gateway.upstream.balancer import CONFLICTS_LOGGED


def next_id(rig: Any, tried: tuple[str, ...] = ()) -> str | None:
    """Return whose turn it is now."""
    upstream = rig.balancer.select("things", tried, rig.clock.monotonic())
    return upstream.id if upstream else None


async def test_the_ejected_serve_when_nobody_else_can(rig: Any) -> None:
    """Better a suspect instance than none."""
    good, bad = rig.dead(), rig.dead()
    for _ in range(5):
        rig.balancer.record_response(rig.balancer.upstreams.by_id[bad.id], 500)
    assert {next_id(rig) for _ in range(4)} == {good.id}
    rig.set_state(good, State.DRAINING)
    assert next_id(rig) == bad.id
    assert next_id(rig, (bad.id,)) is None
    assert rig.stats.ejections == {"things": 1}


async def test_who_cannot_be_reached_is_reported(rig: Any) -> None:
    """The registry then finds out."""
    gone = rig.dead()
    rig.balancer.record_unreachable(rig.balancer.upstreams.by_id[gone.id], "connection refused")
    assert rig.reports == [(gone.id, "connection refused")]


async def test_who_is_gone_is_forgotten(rig: Any) -> None:
    """Nothing is kept for ids that never come back."""
    gone = rig.dead()
    rig.balancer.record_response(rig.balancer.upstreams.by_id[gone.id], 500)
    rig.set_state(gone, State.GONE)
    assert repr(rig.balancer.ejection) == "<Ejection: none>"
    assert not rig.balancer.upstreams.by_id


async def test_who_has_all_it_takes_gets_no_more(rig: Any) -> None:
    """`connections` in its metadata says how many that is."""
    one, other = rig.dead(), rig.dead()
    rig._instances[one.id] = one.model_copy(update={"metadata": {"connections": "1"}})
    rig.set_state(rig._instances[one.id], State.READY)
    upstreams = rig.balancer.upstreams
    rig.set_state(rig._instances[one.id], State.GONE)
    rig._instances[one.id] = one.model_copy(update={"metadata": {"connections": "1"}})
    rig.publish()
    upstreams.acquire(upstreams.by_id[one.id])
    assert {next_id(rig) for _ in range(4)} == {other.id}
    upstreams.release(upstreams.by_id[one.id])
    assert {next_id(rig) for _ in range(4)} == {one.id, other.id}


async def test_a_service_may_prefer_the_less_busy(rig: Any) -> None:
    """Of two by chance; skipping who was tried."""
    for instance in [rig.dead() for _ in range(3)]:
        rig._instances[instance.id] = instance.model_copy(update={"metadata": {"turn": "least-request"}})
        rig.set_state(rig._instances[instance.id], State.GONE)
        rig._instances[instance.id] = instance.model_copy(update={"metadata": {"turn": "least-request"}})
    rig.publish()
    upstreams = rig.balancer.upstreams
    busy, *idle = upstreams.by_id.values()
    upstreams.acquire(busy)
    assert busy.id not in {next_id(rig) for _ in range(50)}
    assert {next_id(rig, tuple(one.id for one in idle)) for _ in range(5)} == {busy.id}


@pytest.mark.parametrize("limit", ["", "0", "-1", "n/a", "²", "١", "9" * 5000, " 1", "1.0"])
async def test_what_is_no_limit_is_ignored(rig: Any, limit: str) -> None:
    """The metadata of one instance costs no other its requests."""
    one, other = rig.dead(), rig.dead()
    rig.set_state(one, State.GONE)
    rig._instances[one.id] = one.model_copy(update={"metadata": {"connections": limit}})
    rig.publish()
    for _ in range(3):
        rig.balancer.upstreams.acquire(rig.balancer.upstreams.by_id[one.id])
    assert {next_id(rig) for _ in range(4)} == {one.id, other.id}


def conflicts_of(rig: Any, capsys: pytest.CaptureFixture[str], count: int) -> tuple[int, int]:
    """Let a rival declare so many routes that are taken; return how many lines say so, and that not."""
    routes = tuple(Route(method="GET", pattern=f"/rival/{number}") for number in range(count))
    for service in ("owner", "rival"):
        one = rig.dead()
        rig._instances[one.id] = one.model_copy(update={"service": service, "routes": routes})
        rig.publish()
    out = capsys.readouterr().out
    return out.count("route.conflict "), out.count("route.conflicts ")


async def test_a_conflict_is_logged_when_it_is_new(rig: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Not at each change of something else."""
    assert conflicts_of(rig, capsys, 2) == (2, 0)
    other = rig.dead()
    changed = other.model_copy(
        update={"service": "other", "routes": (Route(method="GET", pattern="/rival/0"),)}
    )
    rig._instances[other.id] = changed
    rig.publish()
    assert capsys.readouterr().out.count("route.conflict ") == 1
    rig.set_state(changed, State.DRAINING)
    assert "route.conflict" not in capsys.readouterr().out


async def test_so_many_conflicts_are_logged_at_once(rig: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A joiner may bring a thousand."""
    assert conflicts_of(rig, capsys, CONFLICTS_LOGGED + 7) == (CONFLICTS_LOGGED, 1)


async def test_numbers_of_services_that_are_forgotten_are_forgotten(rig: Any) -> None:
    """Their names may come and go for ever."""
    for number in range(10):
        one = rig.known(1, f"new-{number}")
        rig.stats.services[one.service].record(200, 0.1)
        rig.stats.ejections[one.service] += 1
        rig.set_state(one, State.GONE)
    assert not {name for name in rig.stats.services if name.startswith("new-")}
    assert set(rig.stats.ejections) == {FORGOTTEN}
