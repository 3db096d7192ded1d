"""The registry's own order of services: a joiner's clock decides nothing."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from blog.core.instance import Instance
from blog.registry.server.join_order import FORGET_SERVICE_AFTER, JoinOrder

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def instance(service: str, started_at: datetime = BEGIN, number: int = 1) -> Instance:
    """Make an instance that says that it started then."""
    return Instance(id=f"{service}-{number}", service=service, address="h:1", started_at=started_at)


@pytest.mark.parametrize(
    "claimed",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=23, minutes=59))),
        BEGIN + timedelta(days=1),
    ],
)
def test_no_claim_comes_first(claimed: datetime) -> None:
    """Its time is the registry's, and what it says that cannot be true is not shown."""
    order = JoinOrder(BEGIN)
    first = order.stamped(instance("posts"), BEGIN + SECOND)
    second = order.stamped(instance("evil", claimed), BEGIN + SECOND)
    assert first.started_at < second.started_at <= BEGIN + 2 * SECOND
    assert second.up_since == BEGIN + SECOND
    assert second.running_since == BEGIN + SECOND


def test_what_an_instance_says_of_its_start_is_for_people() -> None:
    """A registry that restarts does not make its instances young."""
    order = JoinOrder(BEGIN)
    row = order.stamped(instance("posts", BEGIN - timedelta(days=3)), BEGIN)
    assert row.running_since == BEGIN - timedelta(days=3)


def test_all_instances_of_a_service_have_its_place() -> None:
    """Replacing them one by one loses nothing, and a clock that goes back changes no order."""
    order = JoinOrder(BEGIN)
    first = order.stamped(instance("posts"), BEGIN + SECOND)
    rival = order.stamped(instance("rival"), BEGIN - timedelta(days=1))
    again = order.stamped(instance("posts", number=2), BEGIN + timedelta(days=1))
    assert first.started_at == again.started_at < rival.started_at
    assert order.in_order(["rival", "unknown", "posts"]) == ["posts", "rival", "unknown"]


def test_services_from_before_a_restart_come_first_in_their_order() -> None:
    """All rejoin within a second, in any order."""
    order = JoinOrder(BEGIN, ["posts", "comments"])
    rows = [order.stamped(instance(name), BEGIN) for name in ("new", "comments", "posts")]
    assert [row.service for row in sorted(rows, key=lambda row: row.started_at)] == [
        "posts",
        "comments",
        "new",
    ]


def test_a_service_that_is_gone_for_long_loses_its_place() -> None:
    """One that is only being replaced does not; nothing is kept of what is gone."""
    order = JoinOrder(BEGIN, ["old"])
    order.stamped(instance("posts"), BEGIN)
    order.forget(["posts"], BEGIN + FORGET_SERVICE_AFTER - SECOND)
    assert order.in_order(["posts", "old"]) == ["old", "posts"]
    order.forget(["posts"], BEGIN + FORGET_SERVICE_AFTER)
    assert repr(order) == "<JoinOrder posts>"
    order.forget([], BEGIN + 2 * FORGET_SERVICE_AFTER - SECOND)
    assert repr(order) == "<JoinOrder posts>"
    order.forget([], BEGIN + 2 * FORGET_SERVICE_AFTER)
    assert repr(order) == "<JoinOrder of no service>"
