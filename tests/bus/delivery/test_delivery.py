"""Reactions over real sockets: one living instance each, until acknowledged, with effect once."""

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from blog.bus.delivery.delivery import TIMEOUT, Delivery
from blog.bus.delivery.window import Window
from blog.bus.log.log import EventLog
from blog.core.clock import SystemClock
from blog.core.errors import StorageFull
from blog.core.events import Envelope
from blog.core.instance import Instance
from blog.core.reactions import DeliveryRequest
from blog.core.web import bearer
from tests.bus.conftest import TOKEN, Rig, hang_up

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CAUSE, EFFECT = "blog.Cause", "blog.Effect"


def cause(n: int, key: str | None = None) -> Envelope:
    """Give an event to react to."""
    return Envelope(id=f"c{n}", source="/t", type=CAUSE, subject=key or f"k{n}", time=NOW, data={"n": n})


def effects(delivery: DeliveryRequest) -> dict[str, Any]:
    """React to each event with one that follows."""
    return {
        "results": [
            {
                "id": item.id,
                "outcome": "done",
                "events": [
                    {
                        "id": f"effect-of-{item.id}",
                        "source": "/reactor",
                        "type": EFFECT,
                        "subject": item.subject,
                        "time": NOW.isoformat(),
                        "data": {},
                        "causationid": item.id,
                    }
                ],
            }
            for item in delivery.events
        ]
    }


async def effects_of(rig: Rig, count: int) -> list[str]:
    """Wait until `count` effects are in the log; return what they follow from."""
    async with asyncio.timeout(10):
        while len(found := await rig.events(type=EFFECT, limit="1000")) < count:
            await asyncio.sleep(0.01)
    return [str(item.causationid) for item in found]


async def until_subscribed(rig: Rig, type_: str) -> None:
    """Wait until the bus has a subscription for `type_`."""
    async with asyncio.timeout(5):
        while type_ not in [known for row in await rig.get("/subscriptions") for known in row["types"]]:
            await asyncio.sleep(0.01)


async def test_every_instance_gets_its_share_and_every_event_one_effect(rig: Rig) -> None:
    """Turns go round; what follows is in the log once."""
    served: Counter[str] = Counter()

    def counting(name: str) -> Callable[[DeliveryRequest], dict[str, Any]]:
        def react(delivery: DeliveryRequest) -> dict[str, Any]:
            served[name] += len(delivery.events)
            return effects(delivery)

        return react

    for name in ("one", "two"):
        await rig.reactor("reactor", [CAUSE], counting(name))
    for n in range(40):  # a batch each: the order in which instances became known does not count
        await rig.client.append([cause(n)])
    assert sorted(await effects_of(rig, 40)) == sorted(f"c{n}" for n in range(40))
    assert min(served["one"], served["two"]) >= 10


@pytest.mark.parametrize(
    "failure",
    [
        lambda _: web.Response(status=500),
        lambda _: web.Response(status=429, headers={"Retry-After": "0"}),
        lambda _: web.Response(text="no json"),
        lambda _: {"results": []},
        lambda delivery: {
            "results": [{"id": e.id, "outcome": "retry", "reason": "later"} for e in delivery.events]
        },
    ],
)
async def test_what_fails_is_tried_again_until_it_works(
    rig: Rig, failure: Callable[[DeliveryRequest], Any]
) -> None:
    """The attempt is counted for the instance to see."""
    attempts: list[int] = []

    def react(delivery: DeliveryRequest) -> Any:
        attempts.append(delivery.attempt)
        return failure(delivery) if delivery.attempt < 3 else effects(delivery)

    await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(1)])
    assert await effects_of(rig, 1) == ["c1"]
    assert attempts == [1, 2, 3]


async def test_events_of_a_key_come_in_order_even_when_one_fails(rig: Rig) -> None:
    """What comes later waits for what came before."""
    order: list[int] = []

    def react(delivery: DeliveryRequest) -> Any:
        if delivery.attempt == 1:
            return web.Response(status=503)
        order.extend(item.data["n"] for item in delivery.events if isinstance(item.data["n"], int))
        return effects(delivery)

    await rig.reactor("reactor", [CAUSE], react)
    for n in range(10):
        await rig.client.append([cause(n, "same")])
    await effects_of(rig, 10)
    assert order == list(range(10))


@pytest.mark.parametrize(
    "refusal",
    [
        lambda _: web.Response(status=400, text="never"),
        lambda delivery: {
            "results": [
                {"id": e.id, "outcome": "dead", "reason": "never"} if e.id == "c1" else result
                for e, result in zip(delivery.events, effects(delivery)["results"], strict=True)
            ]
        },
    ],
)
async def test_what_never_will_is_dead_and_others_go_on(
    rig: Rig, refusal: Callable[[DeliveryRequest], Any]
) -> None:
    """A domain error, or a 4xx that trying again does not change: the others of its batch are spared."""

    def react(delivery: DeliveryRequest) -> Any:
        return refusal(delivery) if "c1" in {e.id for e in delivery.events} else effects(delivery)

    await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(1), cause(2)])
    assert await effects_of(rig, 1) == ["c2"]
    async with asyncio.timeout(5):
        while (await rig.get("/subscriptions"))[0]["lag"] > 0:
            await asyncio.sleep(0.01)
    assert (await rig.get("/subscriptions"))[0]["dead"] == 1


async def test_events_wait_while_nobody_lives_and_positions_survive_restarts(rig: Rig) -> None:
    """A subscription is remembered; what was acknowledged is not delivered again."""
    seen: list[str] = []

    def react(delivery: DeliveryRequest) -> dict[str, Any]:
        seen.extend(item.id for item in delivery.events)
        return effects(delivery)

    first = await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(1)])
    await effects_of(rig, 1)
    await first.registry_client.leave()
    await rig.registry_client.discovery.wait_until(lambda table: not table.serving("reactor"))
    await rig.client.append([cause(2)])
    await rig.crash_bus()
    await rig.start_bus()
    await rig.reactor("reactor", [CAUSE], react)
    assert await effects_of(rig, 2) == ["c1", "c2"]
    assert seen == ["c1", "c2"]


async def test_events_of_many_keys_travel_together_and_a_hanging_one_holds_up_its_own_only(
    rig: Rig,
) -> None:
    """What fails as a whole is tried key by key; acknowledgements without effect are written late."""
    batches: list[list[str]] = []

    def react(delivery: DeliveryRequest) -> Any:
        batches.append([item.id for item in delivery.events])
        if "c3" in batches[-1]:
            return web.Response(status=500)
        return {"results": [{"id": item.id, "outcome": "done"} for item in delivery.events]}

    await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(n) for n in range(10)])
    async with asyncio.timeout(5):
        while {id_ for batch in batches[1:] for id_ in batch} < {f"c{n}" for n in range(10)}:
            await asyncio.sleep(0.01)
        while (row := (await rig.get("/subscriptions"))[0])["watermark"] != 3:
            await asyncio.sleep(0.01)
    assert batches[0] == [f"c{n}" for n in range(10)]
    assert all(len(batch) == 1 for batch in batches[1:])
    assert row["lag"] == 7
    await rig.crash_bus()
    log = rig.folder / "data" / "bus" / "log.db"
    with closing(sqlite3.connect(log)) as db:
        [watermark] = db.execute("SELECT watermark FROM subscriptions").fetchone()
        done = db.execute("SELECT count(*) FROM exceptions WHERE state = 'done'").fetchone()[0]
    assert (watermark, done) == (3, 6)


async def test_a_new_type_goes_to_those_who_know_it(rig: Rig) -> None:
    """While two versions run; a type that no instance knows any more may be passed over by any."""
    got: dict[str, list[str]] = {"old": [], "new": []}

    def reactor(name: str) -> Callable[[DeliveryRequest], Any]:
        def react(delivery: DeliveryRequest) -> Any:
            got[name] += [item.type for item in delivery.events]
            return effects(delivery)

        return react

    await rig.reactor("reactor", [CAUSE], reactor("old"))
    new = await rig.reactor("reactor", [CAUSE, "blog.New"], reactor("new"))
    await until_subscribed(rig, "blog.New")
    fresh = [cause(n, "same").model_copy(update={"type": "blog.New"}) for n in range(10, 20)]
    for n in range(10):
        await rig.client.append([cause(n, "same"), fresh[n]])
    await effects_of(rig, 20)
    assert got["new"].count("blog.New") == 10
    assert set(got["old"]) <= {CAUSE}
    await new.registry_client.leave()
    await rig.registry_client.discovery.wait_until(lambda table: len(table.serving("reactor")) == 1)
    await rig.client.append([cause(20).model_copy(update={"type": "blog.New"})])
    await effects_of(rig, 21)
    assert got["old"][-1] == "blog.New"


async def test_a_new_type_waits_for_who_is_still_starting(rig: Rig) -> None:
    """It has subscribed already: an older version that is ready before it must not pass it over."""
    got: dict[str, list[str]] = {"old": [], "new": []}

    def reactor(name: str) -> Callable[[DeliveryRequest], Any]:
        def react(delivery: DeliveryRequest) -> Any:
            got[name] += [item.id for item in delivery.events]
            return effects(delivery)

        return react

    await rig.reactor("reactor", [CAUSE], reactor("old"))
    new = await rig.reactor("reactor", [CAUSE, "blog.New"], reactor("new"), is_ready=False)
    await until_subscribed(rig, "blog.New")
    await rig.client.append([cause(1).model_copy(update={"type": "blog.New"}), cause(2)])
    assert await effects_of(rig, 1) == ["c2"]
    await rig.client.append([cause(3)])  # whoever would have passed it over has by then
    assert await effects_of(rig, 2) == ["c2", "c3"]
    assert got == {"old": ["c2", "c3"], "new": []}
    await new.ready()
    assert await effects_of(rig, 3) == ["c2", "c3", "c1"]
    assert got["new"] == ["c1"]


async def test_a_subscription_that_the_log_could_not_record_is_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends neither the bus nor what it has to do once there is room again."""
    subscribe, refusals = EventLog.subscribe, iter([StorageFull("The log's disk is full.")])

    async def refusing(log: EventLog, name: str, types: frozenset[str]) -> None:
        for refusal in refusals:
            raise refusal
        await subscribe(log, name, types)

    monkeypatch.setattr(EventLog, "subscribe", refusing)
    await rig.reactor("reactor", [CAUSE], effects)
    await rig.client.append([cause(1)])
    assert await effects_of(rig, 1) == ["c1"]
    refusals = iter([StorageFull("The log's disk is full.")])
    await rig.reactor("reactor", ["blog.New"], effects)
    async with asyncio.timeout(5):
        while (await recorded(rig)) != ["blog.Cause", "blog.New"]:
            await asyncio.sleep(0.01)


async def recorded(rig: Rig) -> list[str]:
    """Read which types the log has recorded."""
    with closing(sqlite3.connect(rig.folder / "data" / "bus" / "log.db")) as db:
        [types] = db.execute("SELECT types FROM subscriptions").fetchone()
        return list(json.loads(types))


async def test_a_replay_right_before_a_batch_is_sent_drops_its_outcome(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of the dispatch that was; the new one knows nothing of it, and sends the events itself."""
    select, replays = Delivery._select, list[asyncio.Task[None]]()

    def selecting(delivery: Delivery, service: str, excluded: Collection[str]) -> Instance | None:
        instance = select(delivery, service, excluded)
        if instance is not None and not replays:
            replay = delivery.find(service).replay(0)
            replays.append(asyncio.get_running_loop().create_task(replay))
        return instance

    monkeypatch.setattr(Delivery, "_select", selecting)
    attempts: list[str] = []

    def react(delivery: DeliveryRequest) -> dict[str, Any]:
        attempts.extend(item.id for item in delivery.events)
        return effects(delivery)

    await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(1)])
    assert await effects_of(rig, 1) == ["c1"]
    async with asyncio.timeout(5):
        while (await rig.get("/subscriptions"))[0]["watermark"] < 1:
            await asyncio.sleep(0.01)
    assert attempts == ["c1", "c1"]


async def test_an_instance_that_is_gone_is_no_attempt(rig: Rig) -> None:
    """A refused connection goes to the next one, and the registry hears of it."""
    attempts: list[int] = []

    def react(delivery: DeliveryRequest) -> dict[str, Any]:
        attempts.append(delivery.attempt)
        return effects(delivery)

    dying = await rig.reactor("reactor", [CAUSE], react)
    await rig.reactor("reactor", [CAUSE], react)
    # nothing listens any more, but its session is still open
    await hang_up(dying)
    for n in range(2):  # a batch for each of the two
        await rig.client.append([cause(n)])
        await effects_of(rig, n + 1)
    assert set(attempts) == {1}
    await rig.registry_client.discovery.wait_until(lambda table: dying.instance.id not in table.instances)


async def test_a_stopped_instance_is_not_waited_for(rig: Rig) -> None:
    """Once it is suspect another one gets what it has; that takes less than the time it had."""
    stopped = await rig.reactor("reactor", [CAUSE], effects)
    await rig.reactor("reactor", [CAUSE], effects)
    stopped.pause()
    await rig.client.append([cause(n) for n in range(8)])
    began = asyncio.get_running_loop().time()
    assert sorted(await effects_of(rig, 8)) == [f"c{n}" for n in range(8)]
    assert asyncio.get_running_loop().time() - began < TIMEOUT
    stopped.resume()


@pytest.mark.parametrize(
    ("response", "grows"),
    [(effects, True), (lambda _: web.Response(status=500), False), (lambda _: {"results": []}, False)],
)
async def test_who_fails_fast_does_not_get_more_for_it(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    response: Callable[[DeliveryRequest], Any],
    grows: bool,  # noqa: FBT001 - a table
) -> None:
    """A window grows with success only."""
    grown = asyncio.Event()
    monkeypatch.setattr(Window, "grow", lambda *_: grown.set())
    tried = asyncio.Event()

    def react(delivery: DeliveryRequest) -> Any:
        if delivery.attempt > 1 or grows:
            tried.set()
        return response(delivery)

    await rig.reactor("reactor", [CAUSE], react)
    await rig.client.append([cause(1)])
    async with asyncio.timeout(5):
        await tried.wait()
        if grows:
            await grown.wait()
    assert grown.is_set() is grows


async def test_windows_of_who_is_gone_are_forgotten(rig: Rig, tmp_path: Path) -> None:
    """Every start is another instance: what is known of them must not add up."""
    async with EventLog.open(tmp_path / "other.db") as log:
        delivery = Delivery(log, rig.registry_client, rig.http, SystemClock(), None)
        [bus] = rig.registry_client.discovery.serving("bus")
        for id_ in ("gone", "gone-but-busy", bus.id):
            delivery._windows[id_].in_flight = int(id_ == "gone-but-busy")
        delivery._drop_windows_of_gone()
        assert set(delivery._windows) == {"gone-but-busy", bus.id}


async def test_who_is_given_up_is_given_up_once(rig: Rig, tmp_path: Path) -> None:
    """News that come while a wait is ending change nothing about it."""
    async with EventLog.open(tmp_path / "other.db") as log:
        delivery = Delivery(log, rig.registry_client, rig.http, SystemClock(), None)

        async def wait() -> None:
            async with asyncio.timeout(60) as scope:
                delivery._deadlines["gone"].add(scope)
                delivery._stop_waiting_for_suspects()
                try:
                    await asyncio.Event().wait()
                finally:
                    delivery._stop_waiting_for_suspects()

        with pytest.raises(TimeoutError):
            await wait()


async def test_one_slow_one_failing_one_killed_and_a_poison_event(rig: Rig) -> None:
    """Keys keep their order, everything has one effect, and the poison parks its own key only.

    What follows has another id in each attempt: a second effect would be in the log, not a duplicate.
    """
    chance = random.Random(5)  # noqa: S311 - the same each time
    poison = "c77"

    def react(delivery: DeliveryRequest) -> dict[str, Any] | web.Response:
        if poison in {item.id for item in delivery.events}:
            return web.Response(status=400, text="it is poison")
        response = effects(delivery)
        for result in response["results"]:
            for event in result["events"]:
                event["id"] = str(uuid4())
        return response

    async def slow(delivery: DeliveryRequest) -> dict[str, Any] | web.Response:
        await asyncio.sleep(0.02)
        return react(delivery)

    def failing(delivery: DeliveryRequest) -> dict[str, Any] | web.Response:
        response = react(delivery)
        return web.Response(status=500) if chance.random() < 0.5 else response

    await rig.reactor("reactor", [CAUSE], slow)
    await rig.reactor("reactor", [CAUSE], failing)
    killed = await rig.reactor("reactor", [CAUSE], react)
    keys = [f"k{n % 10}" for n in range(400)]
    for start in range(0, 400, 50):
        await rig.client.append([cause(n, keys[n]) for n in range(start, start + 50)])
        if start == 100:
            await hang_up(killed)  # nothing listens any more, and it has not left
        if start == 250:
            await rig.reactor("reactor", [CAUSE], react)
    parked = [f"c{n}" for n in range(78, 400) if keys[n] == "k7"]
    found = await effects_of(rig, 400 - 1 - len(parked))
    assert not {poison, *parked} & set(found)
    async with asyncio.timeout(10):
        while not (letters := await rig.get("/dead-letters")) or letters[0]["parked"] < len(parked):
            await asyncio.sleep(0.01)
    [letter] = letters
    assert (letter["event"], letter["key"], letter["parked"]) == (poison, "k7", len(parked))
    assert letter["reason"] == "status 400: it is poison"
    poison = ""
    async with rig.http.post(f"{rig.url}/dead-letters/{letter['id']}/redrive", headers=bearer(TOKEN)):
        pass
    found = await effects_of(rig, 400)
    assert max(Counter(found).values()) == 1
    for key in set(keys):
        mine = [int(id_[1:]) for id_ in found if keys[int(id_[1:])] == key]
        assert mine == [n for n in range(400) if keys[n] == key]
