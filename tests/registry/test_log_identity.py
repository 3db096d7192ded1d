"""Never two logs in one blog."""

from datetime import UTC, datetime

import pytest

from blog.core.instance import Instance
from blog.registry.log_identity import LogIdentity


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
    """Whatever it says of itself; a log that becomes current is remembered."""
    kept: list[str] = []
    identity = LogIdentity(known, kept.append)
    assert identity.accepts(instance(service, **metadata)) is is_accepted
    assert identity.current == current
    assert kept == ([current] if current != known else [])


def test_an_operator_adopts_another_log() -> None:
    """Then its bus may join, and the one before no more."""
    kept: list[str] = []
    identity = LogIdentity("one", kept.append)
    identity.adopt("two")
    assert kept == ["two"]
    assert identity.accepts(instance("bus", log="two"))
    assert not identity.accepts(instance("bus", log="one"))
    assert "blog log adopt" in identity.advice
