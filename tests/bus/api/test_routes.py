"""The bus over HTTP: what it accepts, refuses, shows and streams."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.errors import Conflict
from blog.core.events import Envelope
from blog.eventlog.client import EventBatch
from blog.eventlog.wire import MAX_EVENT
from tests.bus.conftest import Rig

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(id_: str, key: str = "k", type_: str = "blog.Tested", text: str = "") -> Envelope:
    """Give an event."""
    return Envelope(id=id_, source="/test", type=type_, subject=key, time=NOW, data={"text": text})


def batch(*events: Envelope) -> str:
    """Encode a batch."""
    return f"[{','.join(item.to_json() for item in events)}]"


async def test_an_append_responds_with_sequences(rig: Rig) -> None:
    """A batch, and a single event; the same id again gets its first sequence."""
    status, response = await rig.send(batch(event("a"), event("b")))
    assert (status, [item["sequence"] for item in response["results"]]) == (200, [1, 2])
    status, response = await rig.send(event("c").to_json(), "application/cloudevents+json")
    assert response == {"results": [{"id": "c", "sequence": 3, "duplicate": False}]}
    status, response = await rig.send(batch(event("a", text="other")))
    assert response == {"results": [{"id": "a", "sequence": 1, "duplicate": True}]}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("", "application/cloudevents-batch+json", 400),
        ("{", "application/cloudevents-batch+json", 400),
        ("[]", "application/cloudevents-batch+json", 422),
        ("{}", "application/cloudevents-batch+json", 422),
        ('[{"id": "x"}]', "application/cloudevents-batch+json", 422),
        ("{}", "application/cloudevents+json", 422),
        (b"\xff", "application/cloudevents+json", 400),
        (batch(event("x")), "text/plain", 415),
        (
            batch(event("good"), event("x", text="y" * MAX_EVENT)),
            "application/cloudevents-batch+json",
            413,
        ),
    ],
)
async def test_what_is_no_event_is_refused_whole(
    rig: Rig, body: bytes | str, content_type: str, status: int
) -> None:
    """A problem, and nothing is appended."""
    responded, problem = await rig.send(body, content_type)
    assert (responded, problem["status"]) == (status, status)
    assert (await rig.get("/events/head"))["sequence"] == 0


async def test_a_sequence_in_an_event_is_the_logs_to_give(rig: Rig) -> None:
    """What a writer claims does not count."""
    await rig.send(batch(event("a").model_copy(update={"sequence": 99})))
    [stored] = await rig.events()
    assert stored.sequence == 1


async def test_whatever_is_taken_can_be_followed(rig: Rig) -> None:
    """However deeply it is nested: an event that stops its readers would stop them for ever."""
    depth, status = 1, 200
    while status == 200:
        depth += 1
        data = json.loads('{"x":' * depth + "1" + "}" * depth)
        one = event(f"e{depth}").model_copy(update={"data": data})
        status, _ = await rig.send(one.to_json(), "application/cloudevents+json")
    assert (status, depth > 100) == (400, True)
    seen: list[str] = []
    async with asyncio.timeout(5):
        async for page in rig.client.follow(0):
            seen += [item.id for item in page.events]
            if len(seen) == depth - 2:
                break
    assert seen == [f"e{n}" for n in range(2, depth)]


async def test_unknown_extensions_are_kept(rig: Rig) -> None:
    """The log does not know what others may need."""
    await rig.send(event("a").to_json()[:-1] + ',"partof":"x"}', "application/cloudevents+json")
    assert (await rig.get("/events/a"))["partof"] == "x"


async def test_reading_by_type_key_and_place(rig: Rig) -> None:
    """With a limit; an unknown id is 404."""
    await rig.send(batch(event("a", "x", "t1"), event("b", "y", "t2"), event("c", "x", "t2")))
    assert [e.id for e in await rig.events(type="t2")] == ["b", "c"]
    assert [e.id for e in await rig.events(key="x")] == ["a", "c"]
    assert [e.id for e in await rig.events(after="1", limit="1")] == ["b"]
    assert (await rig.get("/events/nobody"))["status"] == 404
    assert (await rig.get("/events?after=x"))["status"] == 422


async def test_everything_needs_the_token(rig: Rig) -> None:
    """Probes do not; each response says which log it is."""
    for path in ("/events", "/events/head", "/subscriptions", "/metrics", "/events/a"):
        async with rig.http.get(rig.url + path) as response:
            assert response.status == 401, path
    async with rig.http.get(f"{rig.url}/readyz") as response:
        assert response.status == 200
        assert response.headers["Blog-Log"] == rig.registry_client.discovery.log


async def following(rig: Rig, after: int, until: int, *types: str) -> list[EventBatch]:
    """Follow until everything up to `until` was looked at."""
    batches = []
    async with asyncio.timeout(10):
        async for found in rig.client.follow(after, types):
            batches.append(found)
            if found.through >= until:
                break
    return batches


async def test_a_follower_gets_each_event_once_live(rig: Rig) -> None:
    """What is there, then what comes, in order."""
    await rig.send(batch(*(event(f"a{n}") for n in range(600))))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(following(rig, 0, 605))
        for n in range(5):
            await rig.client.append([event(f"b{n}")])
    events = [item for found in task.result() for item in found.events]
    assert [item.sequence for item in events] == list(range(1, 606))


async def test_a_filtered_follower_knows_how_far_it_is(rig: Rig) -> None:
    """Even when nothing is for it."""
    await rig.send(batch(event("a", type_="t1"), event("b", type_="t2"), event("c", type_="t1")))
    batches = await following(rig, 0, 3, "t2")
    assert [item.id for found in batches for item in found.events] == ["b"]
    assert batches[-1].through == 3


async def test_an_expected_sequence_that_moved_on_is_a_conflict(rig: Rig) -> None:
    """409 on the wire, Conflict at the client."""
    await rig.client.append([event("a")])
    with pytest.raises(Conflict):
        await rig.client.append([event("b")], expect=0)
    [appended] = await rig.client.append([event("b")], expect=1)
    assert appended.sequence == 2


async def test_only_events_of_the_expected_types_count(rig: Rig) -> None:
    """A key where much else happens moves on without a conflict; the problem says where it moved to."""
    await rig.client.append([event("a"), event("b", type_="t1"), event("c", type_="t2")])
    with pytest.raises(Conflict):
        await rig.client.append([event("d")], expect=1, types=["t2", "t3"])
    await rig.client.append([event("d")], expect=1, types=["t3", "t4"])
    query = {"expectedsequence": "1", "expectedtype": "t1"}
    status, problem = await rig.send(batch(event("e")), **query)
    assert (status, problem["sequence"]) == (409, 2)
    assert (await rig.send(batch(event("e")), expectedtype="t1"))[0] == 422


async def test_subscriptions_are_shown(rig: Rig) -> None:
    """With lag and what is dead."""

    def done(delivery: Any) -> dict[str, Any]:
        return {"results": [{"id": item.id, "outcome": "done"} for item in delivery.events]}

    await rig.reactor("watcher", ["blog.Tested"], done)
    await rig.client.append([event("a")])
    async with asyncio.timeout(5):
        while (rows := await rig.get("/subscriptions")) == [] or rows[0]["lag"]:
            await asyncio.sleep(0.01)
    [row] = rows
    assert (row["name"], row["watermark"], row["dead"]) == ("watcher", 1, 0)
    assert json.dumps(row)
