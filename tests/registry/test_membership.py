"""The rules of who is alive, as tables of facts and times."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.instance import Instance, Load, State
from blog.registry.membership import LOST_AFTER, PROBE_EVERY, SUSPECT_AFTER, Cause, Membership, Probe

START = datetime(2026, 1, 1, tzinfo=UTC)


def instance(id_: str = "a") -> Instance:
    """Give an instance as it announces itself."""
    return Instance(id=id_, service="posts", address="127.0.0.1:1", started_at=START)


def ready(*ids: str) -> Membership:
    """Give a table in which `ids` are ready since time 0."""
    made = Membership()
    for id_ in ids or ("a",):
        made.join(instance(id_), 0.0)
        made.admit(id_)
    made.take_changes()
    return made


def state(table: Membership, id_: str = "a") -> State | None:
    """Return the state, None if it is gone."""
    found = table.get(id_)
    return found.state if found else None


def test_an_instance_joins_as_starting_and_is_ready_after_the_dial_back() -> None:
    """Nobody gets traffic on its own word."""
    table = Membership()
    table.join(instance(), 0.0)
    assert state(table) is State.STARTING
    table.admit("a")
    assert state(table) is State.READY


@pytest.mark.parametrize(
    ("silent_for", "expected"),
    [
        (0.0, State.READY),
        (SUSPECT_AFTER - 0.1, State.READY),
        (SUSPECT_AFTER, State.SUSPECT),
        (LOST_AFTER - 0.1, State.SUSPECT),
        (LOST_AFTER, None),
    ],
)
def test_silence(silent_for: float, expected: State | None) -> None:
    """3 s make a suspect, 10 s in all a loss."""
    table = ready()
    table.expire(silent_for)
    assert state(table) is expected


def test_a_suspect_is_probed_every_half_second() -> None:
    """And nobody else is."""
    table = ready("a", "b")
    table.beat("b", None, SUSPECT_AFTER)
    times = [SUSPECT_AFTER + step * 0.1 for step in range(12)]
    probed = [time for time in times if [i.id for i in table.expire(time)] == ["a"]]
    assert probed == pytest.approx([SUSPECT_AFTER, SUSPECT_AFTER + PROBE_EVERY, SUSPECT_AFTER + 1.0])


@pytest.mark.parametrize(
    ("result", "expected"),
    [(Probe.ANSWERED, State.READY), (Probe.SILENT, State.SUSPECT), (Probe.REFUSED, None)],
)
def test_what_a_probe_of_a_ready_one_means(result: Probe, expected: State | None) -> None:
    """Refused is conclusive, silence for 300 ms makes a suspect."""
    table = ready()
    table.probed("a", result, 1.0)
    assert state(table) is expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [(Probe.ANSWERED, State.READY), (Probe.SILENT, State.SUSPECT), (Probe.REFUSED, None)],
)
def test_what_a_probe_of_a_suspect_means(result: Probe, expected: State | None) -> None:
    """It is back with its first answer."""
    table = ready()
    table.expire(SUSPECT_AFTER)
    table.probed("a", result, SUSPECT_AFTER + 0.1)
    assert state(table) is expected


def test_a_suspect_is_back_with_its_first_beat() -> None:
    """A busy loop is not death."""
    table = ready()
    table.expire(SUSPECT_AFTER)
    assert table.beat("a", Load(in_flight=3), SUSPECT_AFTER + 0.1)
    assert state(table) is State.READY
    found = table.get("a")
    assert found is not None
    assert found.load.in_flight == 3


def test_a_draining_one_stays_draining() -> None:
    """Neither beats nor probes make it ready again."""
    table = ready()
    table.drain("a")
    table.beat("a", None, 1.0)
    table.probed("a", Probe.ANSWERED, 1.0)
    table.join(instance(), 1.0)
    assert state(table) is State.DRAINING


def test_joining_again_keeps_the_state() -> None:
    """A socket that broke and came back is not a new start."""
    table = ready()
    table.join(instance(), 1.0)
    assert state(table) is State.READY


def test_leaving_and_dying_are_different_words() -> None:
    """Followers are told which."""
    table = ready("a", "b")
    table.remove("a", Cause.LEFT)
    table.probed("b", Probe.REFUSED, 1.0)
    assert {c.instance.id: c.why for c in table.take_changes()} == {"a": "left", "b": "lost"}


def test_a_lease_ends_after_its_own_time() -> None:
    """And is renewed by putting again."""
    table = Membership()
    table.join(instance(), 0.0, lease=5.0)
    table.beat("a", None, 4.0)
    table.expire(8.9)
    assert state(table) is not None
    table.expire(9.0)
    assert state(table) is None
    assert not table.beat("a", None, 9.1)


def test_load_is_no_change() -> None:
    """A beat a second from everybody is not news for everybody."""
    table = ready()
    table.beat("a", Load(in_flight=9), 1.0)
    assert table.take_changes() == []


def test_changes_are_handed_out_once_and_only_the_last_of_each() -> None:
    """Followers need the table as it is, not its history."""
    table = Membership()
    table.join(instance(), 0.0)
    table.admit("a")
    table.drain("a")
    assert [change.instance.state for change in table.take_changes()] == [State.DRAINING]
    assert table.take_changes() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "beat", "admit", "drain", "answered", "silent", "refused", "left"]),
            st.sampled_from("ab"),
            st.floats(0, 4),
        ),
        max_size=30,
    )
)
def test_followers_that_apply_the_changes_have_the_table(
    steps: list[tuple[str, str, float]],
) -> None:
    """Whatever happens, changes taken at any times add up to the table."""
    table, seen, now = Membership(), dict[str, State](), 0.0
    for word, id_, pause in steps:
        now += pause
        match word:
            case "join":
                table.join(instance(id_), now)
            case "beat":
                table.beat(id_, None, now)
            case "admit":
                table.admit(id_)
            case "drain":
                table.drain(id_)
            case "left":
                table.remove(id_, Cause.LEFT)
            case result:
                table.probed(id_, Probe[result.upper()], now)
        table.expire(now)
        for change in table.take_changes() if pause > 1 else ():
            seen.pop(change.instance.id, None)
            if change.why is None:
                seen[change.instance.id] = change.instance.state
    for change in table.take_changes():
        seen.pop(change.instance.id, None)
        if change.why is None:
            seen[change.instance.id] = change.instance.state
    assert seen == {item.id: item.state for item in table.instances}
