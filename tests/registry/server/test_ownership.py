"""An id belongs to who brought it; the table of who gets one that is held."""

import pytest

from blog.registry.server.ownership import (
    BYTES_OF_STRANGER,
    BYTES_OF_STRANGERS,
    ROUTES_OF_STRANGER,
    ROUTES_OF_STRANGERS,
    ROWS_OF_STRANGER,
    ROWS_OF_STRANGERS,
    Holder,
    Holders,
    why_not_lease,
    why_not_session,
)


def holder(peer: str = "10.0.0.1", **others: object) -> Holder:
    """Make a holder, of `posts` unless told otherwise."""
    return Holder(**{"service": "posts", "peer": peer, "is_trusted": False, **others})  # type: ignore[arg-type]


OPEN, SILENT, CLOSED = False, True, None


@pytest.mark.parametrize(
    ("held", "joiner", "state", "is_own", "gets_it"),
    [
        # the same process, over whatever connection
        ({"key": "k"}, {"key": "k"}, OPEN, False, True),
        ({"key": "k"}, {"key": "k", "peer": "10.0.0.2"}, OPEN, False, True),
        ({"key": "k"}, {"key": "k"}, CLOSED, False, True),
        ({}, {}, OPEN, True, True),
        # another one, while the first lives, however long it is silent: it will be lost first
        ({"key": "k"}, {"key": "x"}, OPEN, False, False),
        ({"key": "k"}, {}, OPEN, False, False),
        ({"key": "k"}, {"key": "x"}, SILENT, False, False),
        ({"key": "k"}, {"key": "x", "is_trusted": True}, CLOSED, False, False),
        # a version without a key
        ({}, {}, OPEN, False, False),
        ({}, {"key": "x"}, OPEN, False, False),
        ({}, {"is_trusted": True}, OPEN, False, False),
        ({}, {}, SILENT, False, True),
        ({}, {}, CLOSED, False, True),
        ({}, {"peer": "10.0.0.2"}, CLOSED, False, False),
        ({}, {"peer": "10.0.0.2", "is_trusted": True}, CLOSED, False, True),
        # never across services, or from a lease
        ({"key": "k", "service": "bus"}, {"key": "k"}, CLOSED, False, False),
        ({"service": "bus"}, {}, OPEN, True, False),
        ({"is_lease": True}, {}, CLOSED, False, False),
    ],
)
def test_who_gets_an_id_that_is_held(
    held: dict[str, object],
    joiner: dict[str, object],
    state: bool | None,  # noqa: FBT001 - a column
    *,
    is_own: bool,
    gets_it: bool,
) -> None:
    """The first one is untouched, unless the other proves to be the same, or it is gone."""
    why = why_not_session(holder(**held), holder(**joiner), is_own=is_own, is_silent=state)  # type: ignore[arg-type]
    assert (why is None) is gets_it


@pytest.mark.parametrize(
    ("held", "joiner", "gets_it"),
    [
        ({"is_lease": True}, {}, True),
        ({"is_lease": True}, {"peer": "10.0.0.2"}, False),
        ({"is_lease": True}, {"peer": "10.0.0.2", "is_trusted": True}, True),
        ({"is_lease": True, "service": "bus"}, {"is_trusted": True}, False),
        ({}, {"is_trusted": True}, False),
    ],
)
def test_who_may_put_a_lease_that_is_held(
    held: dict[str, object], joiner: dict[str, object], *, gets_it: bool
) -> None:
    """The address that put it, or who is trusted; never over a session."""
    assert (why_not_lease(holder(**held), holder(**joiner)) is None) is gets_it  # type: ignore[arg-type]


def test_a_tenure_goes_on_while_the_id_does_not_change_hands() -> None:
    """What responded at its address is remembered too."""
    first = holder(key="k", proven="10.0.0.1:1")
    same, other = holder(key="k", peer="10.0.0.9"), holder(key="x")
    same.succeed(first)
    other.succeed(first)
    assert same.tenure is first.tenure
    assert same.proven == "10.0.0.1:1"
    assert other.tenure is not first.tenure


def test_a_key_is_not_shown() -> None:
    """Not in logs, and not in a debugger that is shared."""
    assert "very-secret" not in repr(holder(key="very-secret"))


def test_a_holder_is_gone_with_its_row() -> None:
    """And does not count any more."""
    rows = {"a"}
    holders = Holders(rows.__contains__)
    holders.put("a", holder())
    assert holders.get("a") is not None
    rows.clear()
    assert holders.get("a") is None
    assert holders._rows.total() == 0


def test_a_stranger_has_so_many_rows_and_bytes() -> None:
    """Whoever is trusted has as many as there are; a row that is replaced does not count twice."""
    holders = Holders(lambda _: True)
    assert holders.why_full(holder(size=BYTES_OF_STRANGER + 1), None)
    for number in range(ROWS_OF_STRANGER):
        holders.put(f"a{number}", holder(size=1))
    held = holders.get("a0")
    assert holders.why_full(holder(), None)
    assert holders.why_full(holder(size=5), held) is None
    assert holders.why_full(holder(is_trusted=True), None) is None
    assert holders.why_full(holder(peer="10.0.0.2"), None) is None
    for number in range(BYTES_OF_STRANGERS // BYTES_OF_STRANGER):
        holders.put(f"c{number}", holder(peer=f"fd01::{number:x}", size=BYTES_OF_STRANGER))
    assert holders.why_full(holder(peer="10.0.0.2", size=1), None)
    for number in range(BYTES_OF_STRANGERS // BYTES_OF_STRANGER):
        holders.drop(f"c{number}")
    for number in range(ROWS_OF_STRANGERS):
        holders.put(f"b{number}", holder(peer=f"fd00::{number:x}"))
    assert holders.why_full(holder(peer="10.0.0.2"), None)


def declaring(number: int, routes: int = ROUTES_OF_STRANGER, **others: object) -> Holder:
    """Make a holder whose row declares so many routes; each `number` stands for others."""
    return holder(**{"routes": routes, "declared": b"%d" % number, **others})  # type: ignore[arg-type]


def test_a_stranger_declares_so_many_routes() -> None:
    """Gateways sort all of them; what replicas of a service declare alike counts once."""
    holders = Holders(lambda _: True)
    assert holders.why_full(declaring(1, ROUTES_OF_STRANGER + 1), None)
    for number in range(5):
        assert holders.why_full(declaring(1), None) is None
        holders.put(f"a{number}", declaring(1))
    assert holders.why_full(declaring(2, 1), None)
    assert holders.why_full(declaring(1, service="other"), None)
    assert holders.why_full(declaring(2, is_trusted=True), None) is None
    assert holders.why_full(declaring(2, peer="10.0.0.2"), None) is None
    assert holders.why_full(declaring(2), holders.get("a0"))
    for number in range(1, 5):
        holders.drop(f"a{number}")
    assert holders.why_full(declaring(2), holders.get("a0")) is None
    assert holders.why_full(declaring(2, 1), None)
    holders.put("a0", declaring(2, 1))
    assert holders.why_full(declaring(3, ROUTES_OF_STRANGER - 1), None) is None
    assert holders.why_full(declaring(3), None)
    holders.drop("a0")
    for number in range(ROUTES_OF_STRANGERS // ROUTES_OF_STRANGER):
        holders.put(f"b{number}", declaring(1, peer=f"fd00::{number:x}"))
    assert holders.why_full(declaring(1, 1, peer="10.0.0.2"), None)
    for number in range(ROUTES_OF_STRANGERS // ROUTES_OF_STRANGER):
        holders.drop(f"b{number}")
    counted = (holders._rows, holders._bytes, holders._routes, holders._declaring)
    assert [len(one) for one in counted] == [0, 0, 0, 0]
