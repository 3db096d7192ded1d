"""Whose turn it is, with what was learnt."""

from typing import Any

from blog.core.instance import State
from blog.gateway.upstream import NeverSent


async def test_the_ejected_serve_when_nobody_else_can(rig: Any) -> None:
    """Better a doubtful answer than none."""
    good, bad = rig.dead(), rig.dead()
    for _ in range(5):
        rig.turns.answered(bad, 500)
    assert {rig.turns.next("things", set()).id for _ in range(4)} == {good.id}
    rig.set_state(good, State.DRAINING)
    assert rig.turns.next("things", set()).id == bad.id
    assert rig.turns.next("things", {bad.id}) is None


async def test_who_cannot_be_reached_is_reported(rig: Any) -> None:
    """The registry then finds out."""
    gone = rig.dead()
    rig.turns.not_reached(gone, NeverSent("connection refused", is_gone=True))
    assert rig.reports == [(gone.id, "connection refused")]


async def test_who_is_gone_is_forgotten(rig: Any) -> None:
    """Nothing is kept for ids that never come back."""
    gone = rig.dead()
    rig.turns.answered(gone, 500)
    rig.set_state(gone, State.GONE)
    assert repr(rig.turns.ejection) == "<Ejection: nobody>"
