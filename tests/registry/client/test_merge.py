"""One row of an instance out of what several registries say of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.core.instance import Departure, Instance, State
from blog.registry.client.merge import TableSource, merged
from blog.registry.messages import GoneInstance, TableDelta, TableSnapshot

START = datetime(2026, 1, 1, tzinfo=UTC)
READY, SUSPECT, STARTING, DRAINING = State.READY, State.SUSPECT, State.STARTING, State.DRAINING


def row(state: State, id_: str = "a") -> Instance:
    """Give a row."""
    return Instance(id=id_, service="posts", address="127.0.0.1:1", started_at=START, state=state)


def source(*rows: Instance, complete: bool = True) -> TableSource:
    """Give a registry that reports these rows."""
    made = TableSource()
    made.apply_snapshot(TableSnapshot(epoch="e", version=1, complete=complete, instances=rows))
    return made


def cut(made: TableSource) -> TableSource:
    """Cut a registry off."""
    made.disconnected()
    return made


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (READY, SUSPECT, READY),  # one of them hears it
        (READY, STARTING, READY),  # one of them dialled it
        (SUSPECT, STARTING, SUSPECT),
        (DRAINING, READY, DRAINING),  # it said so itself, and the other one will hear it
        (STARTING, STARTING, STARTING),
    ],
)
def test_what_two_registries_say(one: State, other: State, expected: State) -> None:
    """The one that heard it last is right; in both orders."""
    pair = source(row(one)), source(row(other))
    for sources in (pair, pair[::-1]):
        found = merged("a", sources)
        assert found is not None
        assert found.state is expected


def test_it_is_gone_only_when_no_connected_one_has_it() -> None:
    """One lost it, the other one still hears it."""
    one, other = source(row(READY)), source(row(READY))
    gone = TableDelta(version=2, gone=(GoneInstance(id="a", why=Departure.LOST),))
    one.apply_delta(gone)
    assert merged("a", [one, other]) is not None
    other.apply_delta(gone)
    assert merged("a", [one, other]) is None


def test_all_cut_off_keep_what_they_said() -> None:
    """The last good list, as it was."""
    found = merged("a", [cut(source(row(READY))), cut(source(row(SUSPECT)))])
    assert found is not None
    assert found.state is READY


def test_what_only_a_cut_off_one_had_is_in_doubt_while_another_is_whole() -> None:
    """It gets traffic when nobody else can answer; a registry that has just started proves nothing."""
    cached = cut(source(row(READY)))
    for other, expected in ((source(), SUSPECT), (source(complete=False), READY)):
        found = merged("a", [cached, other])
        assert found is not None
        assert found.state is expected


def test_what_is_told_counts_before_what_is_kept() -> None:
    """The one that is connected sees it suspect, the other one cannot know."""
    found = merged("a", [cut(source(row(READY))), source(row(SUSPECT))])
    assert found is not None
    assert found.state is SUSPECT


def test_an_incomplete_table_after_a_restart_takes_nobody_out() -> None:
    """Until it is complete."""
    one = cut(source(row(READY), row(READY, "b")))
    concerned, gone = one.apply_snapshot(
        TableSnapshot(epoch="f", version=1, complete=False, instances=(row(STARTING, "b"),))
    )
    assert (concerned, gone) == ({"a", "b"}, set())
    assert (set(one.reported), "a" in one.cached) == ({"b"}, True)
    concerned, gone = one.apply_snapshot(TableSnapshot(epoch="f", version=2, complete=True, instances=()))
    assert (concerned, gone) == ({"a", "b"}, {"a", "b"})
    assert merged("a", [one]) is None


def test_who_comes_back_to_a_registry_that_was_restarted_serves_all_the_time() -> None:
    """It was dialled at this address before; at another one it has to be dialled first."""
    one = cut(source(row(READY)))
    starts = row(STARTING)
    for complete in (False, True):
        one.apply_snapshot(TableSnapshot(epoch="f", version=1, complete=complete, instances=(starts,)))
        assert merged("a", [one]) == row(READY)
    elsewhere = starts.model_copy(update={"address": "127.0.0.1:2"})
    one.apply_delta(TableDelta(version=2, put=(elsewhere,)))
    assert merged("a", [one]) == elsewhere
    one.apply_delta(TableDelta(version=3, put=(row(SUSPECT),)))
    assert merged("a", [one]) == row(SUSPECT)
    one.apply_delta(TableDelta(version=4, put=(starts,)))
    assert merged("a", [one]) == starts


@given(
    st.lists(st.tuples(st.sampled_from(["cut", "put", "gone", "whole", "part"]), st.sampled_from("ab")))
)
def test_a_row_is_kept_only_while_nothing_better_is_told(steps: list[tuple[str, str]]) -> None:
    """Whatever a registry says, and whenever it is disconnected; reported rows need a connection."""
    made = TableSource()
    for word, id_ in steps:
        match word:
            case "cut":
                made.disconnected()
                assert not made.reported
            case "put":
                made.apply_delta(TableDelta(version=1, put=(row(READY, id_),)))
            case "gone":
                made.apply_delta(TableDelta(version=1, gone=(GoneInstance(id=id_, why=Departure.LEFT),)))
                assert merged(id_, [made]) is None
            case _:
                is_complete = word == "whole"
                snapshot = TableSnapshot(
                    epoch="e", version=1, complete=is_complete, instances=(row(READY, id_),)
                )
                made.apply_snapshot(snapshot)
                assert not (is_complete and made.cached)
        assert all(
            made.reported[id_].state is STARTING for id_ in made.reported.keys() & made.cached.keys()
        )


def test_an_instance_whose_row_cannot_be_read_is_forgotten() -> None:
    """Even if the table is not complete, and whoever knew it before."""
    one = cut(source(row(READY), row(READY, "b")))
    gone = (GoneInstance(id="a", why=Departure.LOST),)
    snapshot = TableSnapshot(epoch="f", version=1, complete=False, instances=(), gone=gone)
    concerned, gone_ids = one.apply_snapshot(snapshot)
    assert (concerned, gone_ids) == ({"a", "b"}, {"a"})
    assert merged("a", [one]) is None
    assert merged("b", [one]) is not None


def test_the_first_registry_that_knew_it_says_since_when() -> None:
    """Each has a time of its own, and one may have been restarted; in both orders, and cached."""
    later = row(READY).model_copy(update={"started_at": START + timedelta(hours=1)})
    for sources in ((source(row(READY)), source(later)), (source(later), cut(source(row(READY))))):
        for pair in (sources, sources[::-1]):
            found = merged("a", pair)
            assert found is not None
            assert (found.started_at, found.state) == (START, READY)
