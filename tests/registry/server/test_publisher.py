"""What followers get: only what they follow, encoded once, in versions."""

import json
from datetime import UTC, datetime
from typing import Any, cast

from aiohttp import web

from blog.core.instance import Departure, Instance, Load, State
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.session import ServerSession
from blog.registry.server.transitions import StateChange

START = datetime(2026, 1, 1, tzinfo=UTC)


class RecordingSession(ServerSession):
    """A session that records the frames that are sent."""

    def __init__(self, *follow: str) -> None:
        super().__init__(cast("web.WebSocketResponse", None), cast("Any", None))
        self.follow = frozenset(follow)
        self.frames: list[bytes] = []

    def send_frame(self, encoded: bytes) -> None:
        """Record it."""
        self.frames.append(encoded)

    def sent(self) -> list[dict[str, Any]]:
        """Decode the frames."""
        return [json.loads(one[one.index(b"{") :]) for one in self.frames]


def change(id_: str, service: str, why: Departure | None = None) -> StateChange:
    """Give a change."""
    made = Instance(
        id=id_,
        service=service,
        address="h:1",
        started_at=START,
        state=State.READY,
        load=Load(in_flight=9),
    )
    return StateChange(made, why)


async def test_everybody_hears_of_what_they_follow_and_nothing_else() -> None:
    """And who follows the same gets the very same bytes."""
    publisher = TablePublisher("e")
    posts, same, everything = RecordingSession("posts"), RecordingSession("posts"), RecordingSession("*")
    for session in (posts, same, everything):
        publisher.add(session)
    await publisher.publish([change("p1", "posts"), change("c1", "comments")])
    await publisher.publish([change("c1", "comments", Departure.LOST)])
    assert [[row["id"] for row in sent["put"]] for sent in posts.sent()] == [["p1"]]
    assert posts.frames[0] is same.frames[0]
    assert everything.sent()[1]["gone"] == [{"id": "c1", "why": "lost"}]
    assert [sent["version"] for sent in everything.sent()] == [1, 2]


async def test_load_is_told_to_nobody() -> None:
    """A beat is no news."""
    publisher = TablePublisher("e")
    session = RecordingSession("*")
    publisher.add(session)
    await publisher.publish([change("p1", "posts")])
    publisher.send_snapshots([session], complete=True)
    delta, snapshot = session.sent()
    assert "load" not in delta["put"][0]
    assert "load" not in snapshot["instances"][0]


async def test_a_latecomer_gets_the_table_at_the_version_that_others_have() -> None:
    """What comes next goes on top of it."""
    publisher = TablePublisher("e")
    await publisher.publish([change("p1", "posts"), change("c1", "comments")])
    await publisher.publish([change("p2", "posts"), change("c1", "comments", Departure.LEFT)])
    late, other = RecordingSession("*"), RecordingSession("comments")
    publisher.send_snapshots([late, other], complete=False)
    sent = late.sent()[0]
    assert (sent["epoch"], sent["version"], sent["complete"]) == ("e", 2, False)
    assert {row["id"] for row in sent["instances"]} == {"p1", "p2"}
    assert other.sent()[0]["instances"] == []
    assert publisher.awaiting_complete == {late, other}
    publisher.send_snapshots(tuple(publisher.awaiting_complete), complete=True)
    assert not publisher.awaiting_complete


async def test_nothing_is_kept_of_services_that_are_gone() -> None:
    """Their names may come and go for ever."""
    publisher = TablePublisher("e")
    for number in range(10):
        await publisher.publish([change(f"i{number}", f"s{number}"), change(f"j{number}", f"s{number}")])
        await publisher.publish([change(f"i{number}", f"s{number}", Departure.LOST)])
        assert len(publisher._rows) == 1
        await publisher.publish([change(f"j{number}", f"s{number}", Departure.LEFT)])
        await publisher.publish([change(f"never-{number}", f"n{number}", Departure.LEFT)])
    assert not publisher._rows
