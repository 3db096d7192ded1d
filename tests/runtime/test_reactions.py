"""Reactions: outcomes, what follows, and ids that are the same on every run."""

import json
from datetime import UTC, datetime
from typing import cast

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from blog.core.contract import Service
from blog.core.errors import Invalid, Unavailable
from blog.core.events import Envelope, Event
from blog.core.reactions import DeliveryRequest, DeliveryResponse, Outcome, read_delivery
from blog.core.view import View
from blog.runtime.reactions import ReactionRunner
from blog.runtime.view.host import ViewHost
from tests.fakes import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Knocked(Event, key="door"):
    """Somebody knocked."""

    door: str
    mood: str = ""


class Opened(Event, key="door"):
    """A door was opened."""

    door: str


def answering(name: str = "porter") -> ReactionRunner:
    """Make a service that opens doors, unless the mood is against it."""
    service = Service(name)

    @service.reaction
    def open_door(knock: Knocked) -> list[Event] | Opened | None:
        moods: dict[str, Exception] = {
            "bad": Invalid("never"),
            "busy": Unavailable("later"),
            "broken": ZeroDivisionError("oops"),
        }
        if knock.mood in moods:
            raise moods[knock.mood]
        if knock.mood == "twice":
            return [Opened(door=knock.door), Opened(door=knock.door)]
        return None if knock.mood == "deaf" else Opened(door=knock.door)

    return ReactionRunner(service, FakeClock(), None, None)


async def answered(*moods: str, name: str = "porter") -> DeliveryResponse:
    """Deliver knocks of one door."""
    events = tuple(
        Envelope.of(Knocked(door="d", mood=mood), id=f"k{n}", service="street", time=NOW)
        for n, mood in enumerate(moods)
    )
    return await answering(name).handle(DeliveryRequest(subscription=name, attempt=1, events=events))


async def test_what_follows_names_its_cause() -> None:
    """Source, key and cause."""
    [result] = (await answered("")).results
    [event] = result.events
    assert result.outcome is Outcome.DONE
    assert (event.type, event.source, event.subject) == ("blog.Opened", "/porter", "d")
    assert event.causationid == "k0"


async def test_a_second_run_makes_the_same_events() -> None:
    """So the log takes them once; another service's are others."""
    ids = [event.id for event in (await answered("twice")).results[0].events]
    again = [event.id for event in (await answered("twice")).results[0].events]
    others = [event.id for event in (await answered("twice", name="guard")).results[0].events]
    assert ids == again
    assert len({*ids, *others}) == 4


async def test_outcomes() -> None:
    """A domain error is never, anything else again; nothing to do is done."""
    for mood, outcome in [
        ("deaf", Outcome.DONE),
        ("bad", Outcome.DEAD),
        ("busy", Outcome.RETRY),
        ("broken", Outcome.RETRY),
    ]:
        [result] = (await answered(mood)).results
        assert (mood, result.outcome) == (mood, outcome)
        assert not result.events


async def test_what_comes_after_a_retry_waits() -> None:
    """Order within a key; a dead one does not hold the others up."""
    results = (await answered("bad", "", "busy", "")).results
    assert [result.outcome for result in results] == [
        Outcome.DEAD,
        Outcome.DONE,
        Outcome.RETRY,
        Outcome.RETRY,
    ]


async def test_one_key_does_not_hold_up_another() -> None:
    """Several travel in one load; only what is of the same key has to wait."""
    knocks = [("a", "busy"), ("b", ""), ("a", ""), ("b", "")]
    events = tuple(
        Envelope.of(Knocked(door=door, mood=mood), id=f"k{n}", service="street", time=NOW)
        for n, (door, mood) in enumerate(knocks)
    )
    response = await answering().handle(DeliveryRequest(subscription="porter", attempt=1, events=events))
    assert [result.outcome for result in response.results] == ["retry", "done", "retry", "done"]


class Porch(View):
    """What a porter looks at."""


class LateView:
    """A view that has nothing yet, and takes what time it is given to say so."""

    def __init__(self, clock: FakeClock) -> None:
        self.waits: list[float] = []
        self._clock = clock

    async def wait_for(self, sequence: int, timeout: float) -> bool:
        """Let the time pass."""
        assert sequence > 0
        self.waits.append(timeout)
        self._clock.advance(timeout)
        return False


async def test_a_view_that_is_late_is_waited_for_once() -> None:
    """Not for each event: a load would take longer than the bus waits for its answer."""
    service, clock = Service("porter"), FakeClock()
    late = LateView(clock)

    @service.reaction
    def open_door(knock: Knocked, view: Porch) -> Opened:
        raise AssertionError(f"{view} has not got {knock}")

    reactor = ReactionRunner(service, clock, None, cast("ViewHost", late))
    events = tuple(
        Envelope.of(Knocked(door=door), id=door, service="street", time=NOW).model_copy(
            update={"sequence": 1}
        )
        for door in "abc"
    )
    response = await reactor.handle(DeliveryRequest(subscription="porter", attempt=1, events=events))
    assert {result.outcome for result in response.results} == {Outcome.RETRY}
    assert late.waits == [5.0, 0.0, 0.0]


async def test_data_that_cannot_be_read_is_dead() -> None:
    """Trying again would not change it."""
    event = Envelope(id="k", source="/s", type=Knocked.type, subject="d", time=NOW, data={})
    response = await answering().handle(DeliveryRequest(subscription="s", attempt=1, events=(event,)))
    assert response.results[0].outcome is Outcome.DEAD


async def test_a_type_it_does_not_know_is_done_and_said_once() -> None:
    """Another version of the service asked for it."""
    event = Envelope(id="k", source="/s", type="blog.Unknown", subject="d", time=NOW, data={})
    with capture_logs() as logged:
        response = await answering().handle(
            DeliveryRequest(subscription="s", attempt=1, events=(event, event))
        )
    assert [result.outcome for result in response.results] == [Outcome.DONE, Outcome.DONE]
    assert [item["type"] for item in logged if item["event"] == "event.skipped"] == ["blog.Unknown"]


@pytest.mark.parametrize(("version", "outcome"), [(None, "done"), (1, "done"), (2, "retry")])
async def test_a_later_version_is_left_to_a_newer_instance(version: int | None, outcome: str) -> None:
    """It is not lost: it comes again, with a reason that says why, and is dead after the usual tries."""
    event = Envelope.of(Knocked(door="d"), id="k", service="street", time=NOW)
    event = event.model_copy(update={"dataversion": version})
    response = await answering().handle(DeliveryRequest(subscription="s", attempt=1, events=(event,)))
    [result] = response.results
    assert result.outcome == outcome
    assert outcome == "done" or result.reason == "needs a newer instance: this one reads version 1"


async def test_an_event_that_cannot_be_read_waits_for_another_instance() -> None:
    """With the later ones of its key; the others are reacted to."""
    envelopes = [
        Envelope.of(Knocked(door=door), id=f"{door}{n}", service="street", time=NOW)
        for n, door in enumerate("aab")
    ]
    events = [envelope.model_dump(mode="json", exclude_none=True) | {"new": 1} for envelope in envelopes]
    body = {"subscription": "porter", "attempt": 1, "priority": "high", "events": events}
    delivery = read_delivery(json.dumps(body).encode())
    assert [event.id for event in delivery.events] == ["a0", "a1", "b2"]
    for change in ({"specversion": "2.0"}, {"data": "packed"}, {"time": "noon"}, {"dataversion": 0}):
        changed = body | {"events": [events[0] | change, *events[1:]]}
        results = (await answering().handle(read_delivery(json.dumps(changed).encode()))).results
        assert [result.id for result in results] == ["a0", "a1", "b2"]
        assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.RETRY, Outcome.DONE]
        assert f"its {next(iter(change))} cannot be read here" in str(results[0].reason)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": [5]}', b'{"events": [{"id": 7}]}'])
def test_a_delivery_that_names_no_events_is_an_error(body: bytes) -> None:
    """There is nothing to respond to."""
    with pytest.raises(ValidationError):
        read_delivery(body)
