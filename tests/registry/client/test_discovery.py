"""The local table: follows what the registry says, keeps the last good list."""

from datetime import UTC, datetime

from blog.core.instance import Departure, Instance, State
from blog.registry.client.discovery import Discovery
from blog.registry.messages import GoneInstance, Joined, TableDelta, TableSnapshot

START = datetime(2026, 1, 1, tzinfo=UTC)


def instance(id_: str, state: State = State.READY, service: str = "posts", **more: str) -> Instance:
    """Give a row; `more` is metadata."""
    return Instance(
        id=id_, service=service, address="127.0.0.1:1", started_at=START, state=state, metadata=more
    )


def snapshot(*instances: Instance, complete: bool = True, version: int = 1) -> TableSnapshot:
    """Give a whole table."""
    return TableSnapshot(epoch="e", version=version, complete=complete, instances=instances)


def test_turns_go_over_the_ready_ones() -> None:
    """Starting, draining and suspect ones get nothing while a ready one exists."""
    table = Discovery()
    table.apply(
        snapshot(
            instance("a"),
            instance("b"),
            instance("c", State.STARTING),
            instance("d", State.DRAINING),
            instance("e", State.SUSPECT),
        )
    )
    turns = [found.id for _ in range(4) if (found := table.next("posts"))]
    assert sorted(turns) == ["a", "a", "b", "b"]
    assert {item.id for item in table.serving("posts")} == {"a", "b"}


def test_suspects_are_better_than_nobody() -> None:
    """When no ready one is left, or all of them were tried."""
    table = Discovery()
    table.apply(snapshot(instance("a"), instance("e", State.SUSPECT)))
    second = table.next("posts", skip={"a"})
    assert second is not None
    assert second.id == "e"
    table.apply(TableDelta(version=2, gone=(GoneInstance(id="a", why=Departure.LOST),)))
    assert [item.id for item in table.serving("posts")] == ["e"]


def test_deltas_change_single_rows() -> None:
    """Put and gone."""
    table = Discovery()
    table.apply(snapshot(instance("a"), instance("b")))
    table.apply(
        TableDelta(version=2, put=(instance("c"),), gone=(GoneInstance(id="a", why=Departure.LEFT),))
    )
    assert set(table.instances) == {"b", "c"}
    assert table.version == 2


def test_only_a_complete_table_takes_somebody_out() -> None:
    """A registry that has just started knows nobody yet; that says nothing about us."""
    table = Discovery()
    table.apply(snapshot(instance("a")))
    table.apply(snapshot(complete=False))
    assert set(table.instances) == {"a"}
    table.apply(snapshot())
    assert not table.instances


def test_the_log_is_known_from_the_bus_or_the_registry() -> None:
    """What the registry remembers counts while no bus is there."""
    table = Discovery()
    assert table.log is None
    table.apply(Joined(epoch="e", log="one"))
    assert table.log == "one"
    table.apply(snapshot(instance("bus-1", service="bus", log="two")))
    assert table.log == "two"


def test_listeners_hear_of_changes_until_they_stop() -> None:
    """One call per message."""
    table, versions = Discovery(), list[int]()
    stop = table.on_change(lambda: versions.append(table.version))
    table.apply(snapshot(version=1))
    table.apply(TableDelta(version=2))
    stop()
    table.apply(TableDelta(version=3))
    assert versions == [1, 2]


async def test_waiting_for_something_that_holds_already() -> None:
    """It does not wait for another change."""
    await Discovery().wait_until(lambda table: not table.instances)


def test_nothing_is_kept_of_services_that_are_gone() -> None:
    """Their names may come and go for ever, and somebody may ask for any."""
    table = Discovery()
    for number in range(10):
        for state in (State.READY, State.SUSPECT, State.STARTING):
            put = (instance(f"i{number}", state, f"s{number}"),)
            table.apply(TableDelta(version=1, put=put))
            assert (table.next(f"s{number}") is None) is (state is State.STARTING)
        table.apply(TableDelta(version=2, gone=(GoneInstance(id=f"i{number}", why=Departure.LOST),)))
        assert table.next(f"s{number}") is None
    assert [len(one) for one in (table.instances, table._ready, table._suspect)] == [0, 0, 0]


def test_an_id_of_another_service_gets_no_traffic_of_the_first() -> None:
    """An id that is free again may be anybody's, and a follower may not have seen that it was."""
    table = Discovery()
    table.apply(snapshot(instance("a"), instance("b")))
    table.apply(TableDelta(version=2, put=(instance("a", service="other"),)))
    assert {found.id for _ in range(4) if (found := table.next("posts"))} == {"b"}
    table.apply(TableDelta(version=3, put=(instance("b", service="other"),)))
    assert table.next("posts") is None
