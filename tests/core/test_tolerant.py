"""What another version wrote is read as far as it can be, and nothing is made up."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from blog.core import tolerant
from blog.core.frozen import FrozenModel
from blog.core.instance import Instance, Load, Route, State
from blog.core.tolerant import MAX_LEFT_OUT, Mentions

ROW: dict[str, Any] = {
    "id": "p1",
    "service": "posts",
    "address": "127.0.0.1:1",
    "started_at": "2026-01-01T00:00:00Z",
    "state": "ready",
    "version": "9.0",
    "routes": [{"method": "GET", "pattern": "/a"}],
    "reactions": ["blog.A"],
    "load": {"in_flight": 3, "loop_lag_ms": 1.5},
    "weight": 1,
    "metadata": {"pid": "5"},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("new", {"of": "later"}, None),
        ("version", "v" * 65, ""),
        ("version", 9, ""),
        ("weight", "heavy", 1),
        ("load", {"in_flight": "many"}, Load()),
        ("load", {"in_flight": 10**400}, Load()),
        ("load", {"loop_lag_ms": float("inf")}, Load()),
        ("load", {"loop_lag_ms": float("nan")}, Load()),
        ("load", None, Load()),
        (
            "routes",
            [{"method": "get", "pattern": "/b"}, *ROW["routes"]],
            (Route(method="GET", pattern="/a"),),
        ),
        ("routes", [{"method": "GET", "pattern": "/a", "answer_timeout": 1e9}], ()),
        ("routes", {"/a": "GET"}, ()),
        ("reactions", ["blog.A", {"type": "blog.B"}], ("blog.A",)),
        ("metadata", {"pid": 5, "host": "h", "x": None}, {"host": "h"}),
        ("metadata", ["pid"], {}),
    ],
)
def test_a_row_is_kept_without_what_cannot_be_read(field: str, value: Any, expected: Any) -> None:
    """Only that route, reaction or word is missing; a load counts as none."""
    row, left_out = Instance.read(ROW | {field: value})
    assert row is not None
    assert (row.id, row.state, row.address) == ("p1", State.READY, "127.0.0.1:1")
    assert getattr(row, field, None) == expected
    assert [one.field for one in left_out] == ([] if field == "new" else [field])


@pytest.mark.parametrize("field", ["id", "service", "address", "state", "started_at"])
@pytest.mark.parametrize("value", [None, 7, "", "no such thing", ["ready"], {}])
def test_there_is_no_row_without_what_traffic_depends_on(field: str, value: Any) -> None:
    """An unknown state is not taken for another one."""
    row, left_out = Instance.read(ROW | {field: value})
    if (field, value) == ("started_at", 7):
        assert row is not None, "a number is a time, too"
    else:
        assert row is None
        assert left_out[-1].field == field


@pytest.mark.parametrize("data", [None, 7, "row", [], [ROW], {}, {"id": "p1"}])
def test_what_is_no_row_is_none(data: Any) -> None:
    """Whatever it is instead, and it is said why."""
    row, left_out = Instance.read(data)
    assert row is None
    assert left_out[-1].reason


def test_the_reason_names_the_place_and_not_the_content() -> None:
    """What others wrote may be long or secret."""
    _, [one] = Instance.read(ROW | {"routes": [{"method": "GET", "pattern": "secret"}]})
    assert one.reason.startswith("pattern: ")
    assert "secret" not in one.reason


def test_a_field_with_very_many_unreadable_members_counts_as_unreadable() -> None:
    """Nobody makes us look at each of a million."""
    good, bad = {"method": "GET", "pattern": "/a"}, {"method": "get"}
    row, _ = Instance.read(ROW | {"routes": [good, *[bad] * MAX_LEFT_OUT]})
    assert row is not None
    assert len(row.routes) == 1
    row, _ = Instance.read(ROW | {"routes": [good, *[bad] * (MAX_LEFT_OUT + 1)]})
    assert row is not None
    assert row.routes == ()


class Counts(FrozenModel):
    """A mapping that may be missing, and a list."""

    expects: dict[str, Annotated[int, Field(ge=0)]] | None = None
    names: tuple[str, ...] | None = None


def test_members_of_what_may_be_missing_are_read_one_by_one_as_well() -> None:
    """Of an optional mapping or list."""
    found, left_out = tolerant.read(Counts, {"expects": {"a": 1, "b": -1}, "names": ["x", 7]})
    assert found == Counts(expects={"a": 1}, names=("x",))
    assert [one.field for one in left_out] == ["expects", "names"]


@given(st.dictionaries(st.sampled_from([*ROW, "other"]), json_values), json_values)
def test_nothing_breaks_it(changed: dict[str, Any], other: Any) -> None:
    """A row of any content is a row that others can read, or none."""
    for data in (ROW | changed, changed, other):
        row, left_out = Instance.read(data)
        if row is None:
            assert left_out
        else:
            assert Instance.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize("text", ["", "nope", "[" * 100_000, b"\xff", '{"a": 1'])
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    """However it shows."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        tolerant.parse(text)


def test_one_number_does_not_make_the_rest_unreadable() -> None:
    """Of more digits than Python reads; and one half of a character is no reason either."""
    text = '{"a": ' + "9" * 5000 + ', "b": "\\ud800", "c": [1, -' + "9" * 5000 + "]}"
    assert tolerant.parse(text) == {"a": float("inf"), "b": "?", "c": [1, float("-inf")]}
    assert tolerant.parse(json.dumps({"a": 2**63})) == {"a": 2**63}


def test_each_kind_is_said_once_and_not_more_than_64_of_them() -> None:
    """Whatever comes."""
    mentions = Mentions()
    assert [mentions.is_first("a", "b"), mentions.is_first("a", "b"), mentions.is_first("a")] == [
        True,
        False,
        True,
    ]
    assert sum(mentions.is_first(str(n)) for n in range(1000)) == 62
    assert repr(mentions) == "<Mentions of 64 kinds>"
