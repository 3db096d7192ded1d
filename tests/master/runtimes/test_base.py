"""What all runtimes have in common."""

import asyncio
from typing import Any

import pytest

from blog.master.runtimes.base import AdoptedReplica, UnstartedReplica, stop_in_order


class Slow(UnstartedReplica):
    """A replica that takes its time to end, and tells of both."""

    def __init__(self, name: str, events: list[str]) -> None:
        super().__init__("")
        self.name = name
        self.events = events

    async def stop(self) -> None:
        """Begin, let others begin, end."""
        self.events.append(f"{self.name} ends")
        await asyncio.sleep(0)
        self.events.append(f"{self.name} ended")


async def test_the_gateway_ends_last() -> None:
    """Before it the bus, and before that everybody else, at the same time."""
    events: list[str] = []
    names = ("gateway", "posts", "bus", "web")
    await stop_in_order([(name, Slow(name, events)) for name in names])
    assert events[:4] == ["posts ends", "web ends", "posts ended", "web ended"]
    assert events[4:] == ["bus ends", "bus ended", "gateway ends", "gateway ended"]


@pytest.mark.parametrize(("name", "number"), [("comments-2", 2), ("my-service-13", 13)])
def test_a_replica_that_ran_keeps_its_number(name: str, number: int) -> None:
    """The last part of its name."""
    running: Any = UnstartedReplica("")
    assert AdoptedReplica(name.rpartition("-")[0], name, 0.0, running).number == number
