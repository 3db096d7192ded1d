"""What a row may hold, and who may have a reserved name."""

from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.instance import Instance, Route
from blog.registry.server import admission
from blog.registry.server.admission import IS_RESERVED, why_not_name, why_not_row
from blog.registry.server.session import CLOSE_REASON


def instance(service: str = "posts", **others: Any) -> Instance:
    """Make an instance that joins."""
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    return Instance(id="x1", service=service, address="h:1", started_at=started_at, **others)


ROUTE = Route(method="GET", pattern="/x")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"routes": (ROUTE,) * 1_000, "reactions": ("X",) * 1_000}, None),
        ({"metadata": {str(number): "x" for number in range(1_000)}}, None),
        ({"metadata": {"x": "y" * 65_000}}, None),
        ({"routes": (ROUTE,) * 1_001}, "routes: at most 1000, not 1001"),
        ({"routes": (ROUTE, Route(method="GET", pattern="/x" * 32))}, None),
        ({"routes": (ROUTE, Route(method="GET", pattern="/x" * 33))}, "routes: each has at most 32 seg"),
        ({"reactions": ("X",) * 1_001}, "reactions: at most 1000"),
        ({"reactions": ("X" * 201,)}, "reactions: each"),
        ({"metadata": {str(number): "" for number in range(1_001)}}, "metadata: at most 1000 entries"),
        ({"metadata": {"x": "y" * 65_536}}, "metadata: at most 65536 bytes"),
        ({"metadata": {"x": "ü" * 33_000}}, "metadata: at most 65536 bytes"),
    ],
)
def test_a_row_has_bounds(fields: dict[str, Any], why: str | None) -> None:
    """Everybody gets it: one that is huge is refused, with the bound."""
    found = why_not_row(instance(**fields))
    assert found is None if why is None else found is not None and found.startswith(why)


@pytest.mark.parametrize("service", ["bus", "gateway", "registry", "master"])
def test_a_reserved_name_is_for_the_first_or_the_trusted(service: str) -> None:
    """The same instance may join again."""
    row = instance(service)
    assert why_not_name(row, [], is_trusted=False) is None
    assert why_not_name(row, ["x1"], is_trusted=False) is None
    assert why_not_name(row, ["x1", "x2"], is_trusted=False) == IS_RESERVED
    assert why_not_name(row, ["X1"], is_trusted=False) == IS_RESERVED
    assert why_not_name(row, ["x2"], is_trusted=True) is None
    assert why_not_name(instance("posts"), ["x2"], is_trusted=False) is None


def test_the_reason_fits_into_a_close_frame() -> None:
    """RFC 6455 §5.5: the joiner reads it whole."""
    assert len(IS_RESERVED.encode()) <= CLOSE_REASON
    assert {"bus", "gateway", "registry", "master"} == admission.RESERVED
