"""What an attempt came to."""

import json
from typing import Any

import pytest

from blog.bus.delivery.dispatch import MAX_ATTEMPTS, KeyBatch
from blog.bus.delivery.outcome import DeliveryFailure, evaluate, parse_response
from blog.bus.log.schema import LogEntry, SettledState
from blog.core.reactions import Outcome

BATCH = KeyBatch("k", tuple(LogEntry(n, f"e{n}", "t", "k", "{}") for n in (1, 2, 3)), 1)


def response(*outcomes: str) -> bytes:
    """Write an instance's response."""
    results = [
        {"id": f"e{n}", "outcome": outcome, "reason": "why"} for n, outcome in enumerate(outcomes, 1)
    ]
    return json.dumps({"results": results}).encode()


@pytest.mark.parametrize(
    ("outcomes", "states", "is_again"),
    [
        (("done", "done", "done"), ["done", "done", "done"], False),
        (("done", "retry", "done"), ["done"], True),
        (("done", "dead", "done"), ["done", "dead"], False),
        (("retry", "done", "done"), [], True),
        (("dead", "retry", "retry"), ["dead"], False),
    ],
)
def test_what_is_settled_ends_where_order_would(
    outcomes: tuple[str, ...],
    states: list[str],
    is_again: bool,  # noqa: FBT001 - a table
) -> None:
    """Nothing after one that is to be tried again, or that is dead."""
    outcome = parse_response([BATCH], 200, "", response(*outcomes))
    [found] = evaluate([BATCH], outcome)
    assert [item.state for item in found.settled] == [SettledState(state) for state in states]
    assert (found.failure is not None) is is_again


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, DeliveryFailure("status 400: no", is_final=True)),
        (409, DeliveryFailure("status 409: no", 7.0)),
        (429, DeliveryFailure("status 429: no", 7.0, is_overload=True)),
        (500, DeliveryFailure("status 500: no", 7.0)),
        (503, DeliveryFailure("status 503: no", 7.0, is_overload=True)),
    ],
)
def test_statuses_mean_try_again_or_never(status: int, expected: DeliveryFailure) -> None:
    """With the response's own words, and its own time."""
    assert parse_response([BATCH], status, "7", b"no") == expected


@pytest.mark.parametrize("text", ["", "soon", "\u00b2", "-1", "1.5"])
def test_a_time_that_is_none_is_left_out(text: str) -> None:
    """Whatever an instance says there."""
    assert parse_response([BATCH], 500, text, b"no") == DeliveryFailure("status 500: no")


@pytest.mark.parametrize(
    "body", [b"no json", b"{}", response("done"), response("done", "done", "done", "done")]
)
def test_a_response_about_other_events_is_none(body: bytes) -> None:
    """It is tried again."""
    assert isinstance(parse_response([BATCH], 200, "", body), DeliveryFailure)


def test_the_last_try_is_the_end() -> None:
    """Of the first event; what comes after it was not tried for its own sake."""
    last = KeyBatch("k", BATCH.entries, MAX_ATTEMPTS)
    [found] = evaluate([last], DeliveryFailure("no"))
    assert [(item.sequence, item.state, item.reason) for item in found.settled] == [
        (1, SettledState.DEAD, "no")
    ]
    assert found.failure is None


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "deferred"},
        {"outcome": None},
        {"outcome": ["done"]},
        {"events": [{"id": "x"}]},
        {"events": "none"},
    ],
)
def test_a_result_of_a_later_version_is_tried_again(change: dict[str, Any]) -> None:
    """That one only; what comes before it is settled, and nothing that follows from it is lost."""
    body = json.loads(response("done", "done", "done"))
    body["results"][1] |= change
    outcome = parse_response([BATCH], 200, "", json.dumps(body | {"took": 5}).encode())
    assert not isinstance(outcome, DeliveryFailure)
    assert [result.outcome for result in outcome] == [Outcome.DONE, Outcome.RETRY, Outcome.DONE]
    assert f"the {next(iter(change))} of its result cannot be read here" in str(outcome[1].reason)
    [found] = evaluate([BATCH], outcome)
    assert [item.sequence for item in found.settled] == [1]
    assert found.failure is not None


def test_what_a_result_can_do_without_is_left_out() -> None:
    """A reason or a time that cannot be read, and fields that are not known."""
    body = json.loads(response("done", "retry", "done"))
    body["results"][0] |= {"reason": 5, "cost": {}}
    for later in ("soon", -1, float("inf"), float("nan")):
        body["results"][1] |= {"retry_after": later}
        outcome = parse_response([BATCH], 200, "", json.dumps(body).encode())
        assert not isinstance(outcome, DeliveryFailure)
        assert [result.outcome for result in outcome] == [Outcome.DONE, Outcome.RETRY, Outcome.DONE]
        assert outcome[1].retry_after is None


def test_nobody_puts_an_event_off_for_ever() -> None:
    """A day at the most, in a result or in a header."""
    body = json.loads(response("retry", "retry", "retry"))
    body["results"][0] |= {"retry_after": 1e300}
    [found] = evaluate([BATCH], parse_response([BATCH], 200, "", json.dumps(body).encode()))
    assert found.failure == DeliveryFailure("why", 86_400.0)
    for header, seconds in (
        ("9" * 18, 86_400.0),
        ("9" * 400, None),
    ):  # the second is no number of seconds
        failure = parse_response([BATCH], 503, header, b"")
        assert failure == DeliveryFailure("status 503: ", seconds, is_overload=True)
