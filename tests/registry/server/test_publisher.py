"""What followers are told: only what they follow, encoded once, in versions."""

import json
from datetime import UTC, datetime
from typing import Any, cast

from aiohttp import web

from blog.core.instance import Departure, Instance, Load, State
from blog.registry.server.publisher import TablePublisher
from blog.registry.server.session import ServerSession
from blog.registry.server.transitions import StateChange

START = datetime(2026, 1, 1, tzinfo=UTC)


class Told(ServerSession):
    """A conversation that keeps what it is told."""

    def __init__(self, *follow: str) -> None:
        super().__init__(cast("web.WebSocketResponse", None), cast("Any", None))
        self.follow = frozenset(follow)
        self.frames: list[bytes] = []

    def say_frame(self, encoded: bytes) -> None:
        """Keep it."""
        self.frames.append(encoded)

    def said(self) -> list[dict[str, Any]]:
        """Read what it was told."""
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
    posts, same, everything = Told("posts"), Told("posts"), Told("*")
    for talk in (posts, same, everything):
        publisher.open(talk)
    await publisher.tell([change("p1", "posts"), change("c1", "comments")])
    await publisher.tell([change("c1", "comments", Departure.LOST)])
    assert [[row["id"] for row in said["put"]] for said in posts.said()] == [["p1"]]
    assert posts.frames[0] is same.frames[0]
    assert everything.said()[1]["gone"] == [{"id": "c1", "why": "lost"}]
    assert [said["version"] for said in everything.said()] == [1, 2]


async def test_load_is_told_to_nobody() -> None:
    """A beat is no news."""
    publisher = TablePublisher("e")
    talk = Told("*")
    publisher.open(talk)
    await publisher.tell([change("p1", "posts")])
    publisher.tell_table([talk], complete=True)
    delta, snapshot = talk.said()
    assert "load" not in delta["put"][0]
    assert "load" not in snapshot["instances"][0]


async def test_a_latecomer_gets_the_table_at_the_version_that_others_have() -> None:
    """What comes next goes on top of it."""
    publisher = TablePublisher("e")
    await publisher.tell([change("p1", "posts"), change("c1", "comments")])
    await publisher.tell([change("p2", "posts"), change("c1", "comments", Departure.LEFT)])
    late, other = Told("*"), Told("comments")
    publisher.tell_table([late, other], complete=False)
    said = late.said()[0]
    assert (said["epoch"], said["version"], said["complete"]) == ("e", 2, False)
    assert {row["id"] for row in said["instances"]} == {"p1", "p2"}
    assert other.said()[0]["instances"] == []
    assert publisher.waiting == {late, other}
    publisher.tell_table(tuple(publisher.waiting), complete=True)
    assert not publisher.waiting
