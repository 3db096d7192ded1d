"""What either end of a session reads of what a later version, or anybody, sends."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from blog.core.instance import Departure, Instance, Load, Route, State
from blog.registry.messages import (
    PROTOCOL_VERSION,
    Ack,
    DialBackFailed,
    Drained,
    FromRegistry,
    GoneInstance,
    Heartbeat,
    Join,
    Joined,
    KeepAlive,
    ReadyAck,
    TableDelta,
    TableSnapshot,
)
from blog.registry.reading import (
    ProtocolError,
    SessionReader,
    read_from_instance,
    read_from_registry,
)

ROW: dict[str, Any] = {
    "id": "p1",
    "service": "posts",
    "address": "127.0.0.1:1",
    "started_at": "2026-01-01T00:00:00Z",
    "state": "ready",
    "routes": [{"method": "GET", "pattern": "/a"}],
}
KNOWN = Instance.model_validate(ROW)
SNAPSHOT: dict[str, Any] = {
    "type": "snapshot",
    "epoch": "e",
    "version": 4,
    "complete": True,
    "instances": [ROW],
}


def heard(**message: Any) -> FromRegistry | None:
    """Read a message of a registry."""
    return read_from_registry(json.dumps(message)).message


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x01",
        '{"type": "telegram", "text": "new"}',
        '{"type": "ALIVE"}',
        '{"type": ["alive"]}',
        '{"type": null}',
        "{}",
        '{"type": "delta", "version": "next", "put": []}',
        '{"type": "delta", "version": NaN}',
        '{"type": "delta", "version": -1}',
        '{"type": "delta"}',
        '{"type": "snapshot", "epoch": "e", "version": 1, "complete": true, "instances": {}}',
        '{"type": "snapshot", "epoch": "e", "version": 1, "instances": []}',
    ],
)
def test_a_message_that_is_not_understood_is_skipped(frame: str | bytes) -> None:
    """By either end; why is told along."""
    for read in (read_from_registry, read_from_instance):
        message, passed_over = read(frame)
        assert message is None
        assert [one.event for one in passed_over] == ["message.skipped"]


@pytest.mark.parametrize(
    "frame", ["", "nope", "[]", "7", '"type"', "null", "[" * 100_000, '{"type": "alive"', "{'type': 1}"]
)
def test_what_is_no_message_at_all(frame: str) -> None:
    """It ends the session of an instance; the table that a registry has sent before still counts."""
    with pytest.raises(ProtocolError):
        read_from_instance(frame)
    message, [one] = read_from_registry(frame)
    assert message is None
    assert one.event == "message.skipped"


@pytest.mark.parametrize("extra", [{"x": 1}, {"x": [[[]]]}, {"x": "\ud800"}, {"x": 10**400}, {"x": None}])
def test_unknown_fields_are_ignored(extra: dict[str, Any]) -> None:
    """In a message, in a row and in what a row contains."""
    assert heard(type="alive", **extra) == KeepAlive()
    assert heard(type="ready", **extra) == ReadyAck()
    assert heard(type="drained", **extra) == Drained()
    route = ROW["routes"][0] | extra
    row = ROW | {"routes": [route], "load": {"in_flight": 0, **extra}} | extra
    found = heard(**SNAPSHOT | {"instances": [row]} | extra)
    assert isinstance(found, TableSnapshot)
    assert found.instances == (KNOWN,)


def test_a_row_that_cannot_be_read_takes_no_other_with_it() -> None:
    """An instance that cannot be understood any more is gone: what was known of it is no longer true."""
    rows = [ROW | {"id": "p2", "state": "warming"}, 7, None, [], {}, ROW, ROW | {"id": 5}]
    found, passed_over = read_from_registry(json.dumps(SNAPSHOT | {"instances": rows}))
    assert isinstance(found, TableSnapshot)
    assert found.instances == (KNOWN,)
    assert found.gone == (GoneInstance(id="p2", why=Departure.LOST),)
    assert {one.event for one in passed_over} == {"row.unreadable"}
    found = heard(type="delta", version=5, put=rows, gone=[{"id": "p9", "why": "left"}])
    assert isinstance(found, TableDelta)
    assert found.put == (KNOWN,)
    assert [one.id for one in found.gone] == ["p2", "p9"]


def test_a_part_of_a_row_that_cannot_be_read_is_left_out() -> None:
    """A route of a kind that only later versions have."""
    routes = [{"method": "any", "pattern": "/b"}, *ROW["routes"], {"pattern": "/c"}, "GET /d"]
    found, [one] = read_from_registry(json.dumps(SNAPSHOT | {"instances": [ROW | {"routes": routes}]}))
    assert isinstance(found, TableSnapshot)
    assert found.instances[0].routes == (Route(method="GET", pattern="/a"),)
    assert (one.event, one.field, one.id) == ("row.unreadable", "routes", "p1")


@pytest.mark.parametrize("why", ["evaporated", None, 5, {}, "LEFT"])
def test_gone_is_gone_for_whatever_reason(why: Any) -> None:
    """A reason that is not known is the worse one; so is none."""
    found = heard(
        type="delta", version=5, gone=[{"id": "a", "why": why}, {"id": 7}, 8, {"id": "b", "why": "left"}]
    )
    assert isinstance(found, TableDelta)
    assert [(one.id, one.why) for one in found.gone] == [("a", Departure.LOST), ("b", Departure.LEFT)]


def test_what_a_message_can_do_without_has_its_default() -> None:
    """An instance that is joined is joined, whatever else is told."""
    assert heard(type="joined") == Joined()
    assert heard(type="joined", epoch=7, log={}, address=[], protocol="9") == Joined(protocol=9)
    assert heard(type="joined", epoch="e", protocol="nine") == Joined(epoch="e")
    assert heard(type="refused", tried=5) == DialBackFailed()


@pytest.mark.parametrize(
    "load", [None, 7, [], {"in_flight": -1}, {"loop_lag_ms": "slow"}, {"in_flight": 1e99}]
)
def test_a_heartbeat_is_a_heartbeat(load: Any) -> None:
    """With a load that cannot be read the last one counts."""
    assert read_from_instance(json.dumps({"type": "beat", "load": load})).message == Heartbeat()
    assert Heartbeat().load is None
    known = read_from_instance('{"type": "beat", "load": {"in_flight": 2, "queue": 9}}').message
    assert known == Heartbeat(load=Load(in_flight=2))


def test_an_instance_of_a_later_version_joins() -> None:
    """Without what cannot be read; its state is the registry's business."""
    row = ROW | {
        "state": "warming",
        "routes": [{"method": "any", "pattern": "/"}],
        "metadata": {"pid": 7},
    }
    text = json.dumps(
        {"type": "join", "instance": row, "follow": ["*", 7], "known": 5, "expects": {"a": -1, "b": 2}}
    )
    found, passed_over = read_from_instance(text)
    expected = KNOWN.model_copy(update={"state": State.STARTING, "routes": ()})
    assert found == Join(instance=expected, follow=("*",), expects={"b": 2})
    assert {one.field for one in passed_over} == {
        "state",
        "routes",
        "metadata",
        "follow",
        "known",
        "expects",
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": "a b"}, "join.instance.id: "),
        ({"service": "Posts"}, "join.instance.service: "),
        ({"address": "nowhere"}, "join.instance.address: "),
        ({"started_at": "soon"}, "join.instance.started_at: "),
    ],
)
def test_an_instance_that_cannot_be_read_is_told_which_field_it_is(
    change: dict[str, Any], named: str
) -> None:
    """It cannot be taken in, and it should not have to guess."""
    with pytest.raises(ProtocolError) as caught:
        read_from_instance(json.dumps({"type": "join", "instance": ROW | change}))
    assert str(caught.value).startswith(named)
    instances: list[Any] = [{}, [], 7]
    for instance in instances:
        with pytest.raises(ProtocolError, match=r"join\.instance"):
            read_from_instance(json.dumps({"type": "join", "instance": instance}))


def test_an_acknowledgement_that_is_no_number_counts_nothing() -> None:
    """The lag that is derived from it stays a number."""
    assert read_from_instance('{"type": "ack", "version": 3}').message == Ack(version=3)
    for version in ("1e999", '"x"', "-1", "9" * 400):
        assert read_from_instance(f'{{"type": "ack", "version": {version}}}').message is None


def test_each_kind_is_said_once_with_the_version_of_the_other_end() -> None:
    """However often it comes, and however many kinds there are."""
    reader = SessionReader(read_from_registry, url="http://r")
    with capture_logs() as logged:
        assert reader.read('{"type": "joined", "epoch": "e", "protocol": 9}') is not None
        for _ in range(3):
            assert reader.read('{"type": "telegram\\u001b[31m"}') is None
            assert reader.read('{"type": "news"}') is None
            reader.read(
                json.dumps(
                    SNAPSHOT | {"instances": [ROW | {"id": f"p{n}", "state": "?"} for n in range(9)]}
                )
            )
        for n in range(1000):
            reader.read(json.dumps({"type": f"kind-{n}"}))
    first, second, third, *rest = logged
    assert (first["event"], first["type"], first["protocol"], first["url"]) == (
        "message.skipped",
        "telegram [31m",
        9,
        "http://r",
    )
    assert (second["event"], second["type"]) == ("message.skipped", "news")
    assert (third["event"], third["field"], third["id"]) == ("row.unreadable", "state", "p0")
    assert len(rest) == 61
    assert repr(reader) == "<SessionReader of protocol version 9>"
    assert PROTOCOL_VERSION == 1
