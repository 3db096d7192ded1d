"""What operators do about subscriptions and the events that never worked for one."""

import asyncio
from typing import Any

import pytest

from blog.bus.api.admin import _envelope
from blog.bus.log.schema import DeadLetter, LogEntry
from blog.core.reactions import DeliveryRequest
from blog.core.web import bearer
from tests.bus.conftest import TOKEN, Rig
from tests.bus.delivery.test_delivery import CAUSE, cause, effects, effects_of


class Reactor:
    """Reacts with one event each; what is in `poison` never works."""

    def __init__(self, *poison: str) -> None:
        self.poison = set(poison)
        self.seen: list[str] = []

    def __call__(self, delivery: DeliveryRequest) -> dict[str, Any]:
        """Answer a delivery."""
        self.seen += [item.id for item in delivery.events]
        response = effects(delivery)
        for result in response["results"]:
            if result["id"] in self.poison:
                result |= {"outcome": "dead", "reason": "it is poison", "events": []}
        return response


async def post(rig: Rig, path: str) -> int:
    """Ask the bus to do something; return the status."""
    async with rig.http.post(rig.url + path, headers=bearer(TOKEN)) as response:
        return response.status


async def subscription(rig: Rig, **expected: Any) -> dict[str, Any]:
    """Wait until the one subscription is as expected; return its row."""
    async with asyncio.timeout(10):
        while True:
            rows = await rig.get("/subscriptions")
            if rows and all(rows[0][name] == value for name, value in expected.items()):
                row: dict[str, Any] = rows[0]
                return row
            await asyncio.sleep(0.01)


async def letters(rig: Rig, parked: int) -> list[dict[str, Any]]:
    """Wait until as many events are parked on disk; return the dead letters of the one subscription."""
    async with asyncio.timeout(10):
        while True:
            found: list[dict[str, Any]] = await rig.get("/dead-letters?subscription=reactor")
            if sum(letter["parked"] for letter in found) == parked:
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("verb", ["redrive", "discard"])
async def test_a_poison_event_parks_its_key_until_somebody_decides(rig: Rig, verb: str) -> None:
    """Others go on; then the rest of the key follows in order, and everything has one effect."""
    reactor = Reactor("c1")
    await rig.reactor("reactor", [CAUSE], reactor)
    await rig.client.append([cause(0, "a"), cause(1, "a"), cause(2, "a"), cause(3, "b")])
    await rig.client.append([cause(4, "a"), cause(5, "b")])
    assert sorted(await effects_of(rig, 3)) == ["c0", "c3", "c5"]
    await subscription(rig, dead=1, parked=2)
    [letter] = await letters(rig, parked=2)
    assert (letter["event"], letter["key"], letter["reason"]) == ("c1", "a", "it is poison")
    assert (letter["attempts"], letter["parked"]) == (1, 2)
    assert (await rig.get(f"/dead-letters/{letter['id']}"))["envelope"]["data"] == {"n": 1}
    reactor.poison.clear()
    assert await post(rig, f"/dead-letters/{letter['id']}/{verb}") == 204
    again = ["c1"] if verb == "redrive" else []
    assert (await effects_of(rig, 5 + len(again)))[3:] == [*again, "c2", "c4"]
    await subscription(rig, dead=0, parked=0)
    assert await rig.get("/dead-letters") == []
    assert await post(rig, f"/dead-letters/{letter['id']}/{verb}") == 404


async def test_what_is_parked_waits_over_a_restart(rig: Rig) -> None:
    """Also what came while the bus was starting; nothing of the key goes ahead of it."""
    reactor = Reactor("c0")
    await rig.reactor("reactor", [CAUSE], reactor)
    await rig.client.append([cause(0, "a"), cause(1, "a")])
    await subscription(rig, dead=1, parked=1)
    await rig.crash_bus()
    await rig.start_bus()
    await rig.client.append([cause(2, "a"), cause(3, "b")])
    assert await effects_of(rig, 1) == ["c3"]
    await subscription(rig, dead=1, parked=2)
    reactor.poison.clear()
    [letter] = await rig.get("/dead-letters")
    assert await post(rig, f"/dead-letters/{letter['id']}/redrive") == 204
    assert (await effects_of(rig, 4))[1:] == ["c0", "c1", "c2"]


async def test_a_paused_subscription_gets_nothing(rig: Rig) -> None:
    """Until it is resumed; a restart does not resume it."""
    reactor = Reactor()
    await rig.reactor("reactor", [CAUSE], reactor)
    await subscription(rig, paused=False)
    assert await post(rig, "/subscriptions/reactor/pause") == 204
    await rig.client.append([cause(0), cause(1)])
    row = await subscription(rig, paused=True, lag=2, waiting=2, oldest=1)
    assert row["since"] == "2026-01-01T00:00:00Z"
    await rig.crash_bus()
    await rig.start_bus()
    await subscription(rig, paused=True, lag=2)
    assert reactor.seen == []
    assert await post(rig, "/subscriptions/reactor/resume") == 204
    assert sorted(await effects_of(rig, 2)) == ["c0", "c1"]


async def test_a_replay_delivers_again_and_changes_nothing(rig: Rig) -> None:
    """What follows has the ids that it had. The dead come again too."""
    reactor = Reactor("c2")
    await rig.reactor("reactor", [CAUSE], reactor)
    await rig.client.append([cause(n) for n in range(4)])
    await effects_of(rig, 3)
    await subscription(rig, dead=1)
    reactor.seen.clear()
    reactor.poison.clear()
    assert await post(rig, "/subscriptions/reactor/replay?after=1") == 204
    assert sorted(await effects_of(rig, 4)) == ["c0", "c1", "c2", "c3"]
    await subscription(rig, dead=0, lag=0, in_flight=0)
    assert sorted(reactor.seen) == ["c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/subscriptions/nobody/pause", 404),
        ("/subscriptions/nobody/replay?after=0", 404),
        ("/subscriptions/nobody/replay", 422),
        ("/subscriptions/nobody/replay?after=-1", 422),
        ("/dead-letters/nonsense/redrive", 404),
        ("/dead-letters/nobody-1/redrive", 404),
        ("/dead-letters/nobody-99999999999999999999/discard", 404),
        ("/dead-letters/reactor-١/discard", 404),
    ],
)
async def test_what_is_not_there_is_said(rig: Rig, path: str, status: int) -> None:
    """With a problem, not a crash."""
    assert await post(rig, path) == status


@pytest.mark.parametrize("envelope", ["", "not JSON", "[" * 100_000, "9" * 5000])
def test_an_event_that_cannot_be_read_is_shown_as_it_is(envelope: str) -> None:
    """Another version wrote it, or a disk broke it."""
    assert (
        _envelope(DeadLetter("s", 1, "why", 0, LogEntry(7, "e7", "blog.Odd", "k", envelope))) == envelope
    )
    assert _envelope(DeadLetter("s", 1, "why", 0, LogEntry(7, "e7", "blog.Odd", "k", "[1]"))) == [1]
