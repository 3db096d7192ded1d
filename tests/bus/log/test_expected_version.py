"""What a writer expects of the log: that nothing that counts has come after what it has seen."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog.bus.log.expected_version import ExpectedVersion
from blog.bus.log.schema import SCHEMA

Row = tuple[str, str]
rows = st.lists(st.tuples(st.sampled_from("kl"), st.sampled_from("ab")), max_size=12)


def a_log(events: list[Row]) -> sqlite3.Connection:
    """Make the tables of a log with an event for each (key, type)."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    db.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, '{}', x'')",
        [(n, str(n), type_, key) for n, (key, type_) in enumerate(events, 1)],
    )
    return db


@given(rows, st.integers(0, 14), st.frozensets(st.sampled_from("ab")))
def test_it_holds_when_nothing_that_counts_comes_later(
    events: list[Row], sequence: int, types: frozenset[str]
) -> None:
    """Of that key, of these types or, with none named, of any; a log that ends before it is another."""
    found = [
        n
        for n, (key, type_) in enumerate(events, 1)
        if key == "k" and n > sequence and (not types or type_ in types)
    ]
    with closing(a_log(events)) as db:
        conflict = ExpectedVersion("k", sequence, types).conflict(db, len(events))
    if sequence > len(events):
        assert conflict is not None
        assert conflict.extensions == {"sequence": len(events)}
    elif found:
        assert conflict is not None
        assert conflict.extensions == {"sequence": found[0]}
    else:
        assert conflict is None


@pytest.fixture
def long_log() -> Iterator[sqlite3.Connection]:
    """Give a log in which one key has a long history."""
    with closing(a_log([("k", "a")] * 20_000)) as db:
        yield db


@pytest.mark.parametrize("types", [frozenset[str](), frozenset({"b"})])
def test_a_long_history_costs_nothing(long_log: sqlite3.Connection, types: frozenset[str]) -> None:
    """Only what comes after the sequence is looked at."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    long_log.set_progress_handler(count, 1)
    ExpectedVersion("k", 19_990, types).conflict(long_log, 20_000)
    assert 0 < steps < 300
