"""Instances are announced with an id of their own and an address that can be dialled."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from blog.core.instance import Instance, Load, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def announce(address: str) -> Instance:
    """Make an instance at `address`."""
    return Instance.announce("posts", address=address, started_at=NOW)


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80", "posts.local:8000", "posts_1:1"])
def test_addresses_are_host_and_port(address: str) -> None:
    """Names, IPv4, and IPv6 in brackets."""
    assert announce(address).address == address


@pytest.mark.parametrize("address", ["", "host", "http://a:1", "a:b", "::1:80", "a:1/x"])
def test_other_addresses_are_refused(address: str) -> None:
    """What cannot be dialled does not get in."""
    with pytest.raises(ValidationError):
        announce(address)


def test_two_starts_are_two_instances() -> None:
    """The id is unique per start, though address and service are the same."""
    assert announce("a:1").id != announce("a:1").id


@pytest.mark.parametrize(("state", "serving"), [(s, s in ("ready", "suspect")) for s in State])
def test_who_may_get_traffic(state: State, serving: bool) -> None:  # noqa: FBT001
    """Ready ones, and suspects when nobody else can."""
    assert announce("a:1").model_copy(update={"state": state}).is_serving() is serving


@pytest.mark.parametrize(
    ("field", "value"),
    [("in_flight", 2**53), ("in_flight", -1), ("loop_lag_ms", 1e999), ("loop_lag_ms", float("nan"))],
)
def test_a_load_is_a_number_that_others_can_read(field: str, value: float) -> None:
    """Infinity is no JSON: one row of it would break the table of everybody."""
    with pytest.raises(ValidationError):
        Load.model_validate({field: value})
