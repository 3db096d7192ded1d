"""Never two logs in one blog."""

from datetime import UTC, datetime

import pytest

from blog.core.instance import Instance
from blog.registry.log_identity import CLAIMED, LogIdentity

CLAIM = f"one\n{CLAIMED}"


def instance(service: str, **metadata: str) -> Instance:
    """Make an instance that joins."""
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    return Instance(id="x1", service=service, address="h:1", started_at=started_at, metadata=metadata)


@pytest.mark.parametrize(
    ("known", "service", "metadata", "is_accepted", "current"),
    [
        (None, "bus", {"log": "one"}, True, "one"),
        ("one", "bus", {"log": "one"}, True, "one"),
        ("one", "bus", {"log": "two"}, False, "one"),
        ("one", "bus", {"log": "two", "adopt": "false"}, False, "one"),
        ("one", "bus", {"log": "two", "adopt": "true"}, False, "one"),
        ("one", "bus", {}, False, "one"),
        ("one", "bus", {"log": ""}, False, "one"),
        (None, "bus", {}, True, None),
        (None, "bus", {"log": ""}, False, None),
        (None, "bus", {"log": "one\n"}, False, None),
        (None, "bus", {"log": "x" * 129}, False, None),
        (None, "posts", {"log": "two", "adopt": "true"}, True, None),
    ],
)
def test_a_bus_with_another_log_may_not_join(
    known: str | None, service: str, metadata: dict[str, str], *, is_accepted: bool, current: str | None
) -> None:
    """Whatever it says of itself; its log is current once it is ready, and is remembered then."""
    for is_trusted in (True, False):
        kept: list[str] = []
        identity = LogIdentity(known, kept.append)
        joiner = instance(service, **metadata)
        assert identity.accepts(joiner, is_trusted=is_trusted) is is_accepted
        assert (identity.current, kept) == (known, [])
        assert identity.settle(joiner, is_trusted=is_trusted) is (current != known)
        assert identity.current == current
        assert [one.partition("\n")[0] for one in kept] == ([current] if current != known else [])


def test_a_log_that_a_stranger_brought_is_replaced_by_a_trusted_bus() -> None:
    """Not by another stranger; what is remembered says so, also after a restart."""
    kept: list[str] = []
    first = LogIdentity(None, kept.append)
    assert first.settle(instance("bus", log="one"), is_trusted=False)
    assert kept == [CLAIM]
    identity = LogIdentity(kept.pop(), kept.append)
    assert (identity.current, identity.is_claim) == ("one", True)
    two = instance("bus", log="two")
    assert not identity.accepts(two, is_trusted=False)
    assert not identity.settle(two, is_trusted=False)
    assert not identity.accepts(instance("bus"), is_trusted=True)
    assert identity.accepts(two, is_trusted=True)
    assert (identity.current, kept) == ("one", [])
    assert identity.settle(two, is_trusted=True)
    assert (identity.current, identity.is_claim, kept) == ("two", False, ["two"])
    assert not identity.accepts(instance("bus", log="three"), is_trusted=True)


@pytest.mark.parametrize("is_adopted", [True, False])
def test_a_claim_that_is_confirmed_is_one_no_more(*, is_adopted: bool) -> None:
    """By a trusted bus with the same log, or by an operator; a stranger takes nothing back."""
    kept: list[str] = []
    identity = LogIdentity(CLAIM, kept.append)
    if is_adopted:
        identity.adopt("one")
    else:
        assert not identity.settle(instance("bus", log="one"), is_trusted=True)
    assert not identity.settle(instance("bus", log="one"), is_trusted=False)
    assert (identity.is_claim, kept) == (False, ["one"])
    assert not identity.accepts(instance("bus", log="two"), is_trusted=True)


def test_what_was_remembered_before_there_were_claims_is_none() -> None:
    """And what a later version adds is not a mark."""
    for known in ("one", "one\nadopted 2026-01-01"):
        identity = LogIdentity(known, lambda _: None)
        assert (identity.current, identity.is_claim) == ("one", False)


def test_an_operator_adopts_another_log() -> None:
    """Then its bus may join, and the one before no more."""
    kept: list[str] = []
    identity = LogIdentity("one", kept.append)
    identity.adopt("two")
    assert kept == ["two"]
    assert identity.accepts(instance("bus", log="two"), is_trusted=False)
    assert not identity.accepts(instance("bus", log="one"), is_trusted=True)
    assert "blog log adopt" in identity.advice
