"""Commands: decide, append, answer; the same request again is the same event."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.bus.client import Appended
from blog.core.contract import Append, Meta
from blog.core.errors import Invalid, NotFound
from blog.core.events import Envelope, Event
from blog.runtime.commands import DEADLINE, CommandRequest, Commands
from tests.fakes import FakeClock


class Planted(Event, key="bed"):
    """A flower was planted."""

    id: str
    bed: str
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class FakeLog:
    """A log in memory, with the dedup of the real one."""

    def __init__(self) -> None:
        self.stored: dict[str, Envelope] = {}
        self.timeouts: list[float] = []

    async def append(
        self, envelopes: Sequence[Envelope], *, expect: int | None = None, timeout: float = 5.0
    ) -> list[Appended]:
        """Keep what is new."""
        self.timeouts.append(timeout)
        results = []
        for envelope in envelopes:
            duplicate = envelope.id in self.stored
            self.stored.setdefault(envelope.id, envelope)
            sequence = list(self.stored).index(envelope.id) + 1
            results.append(Appended(id=envelope.id, sequence=sequence, duplicate=duplicate))
        return results

    async def get(self, event_id: str) -> Envelope | None:
        """Look it up."""
        return self.stored.get(event_id)


def request(body: bytes = b"{}", key: str | None = None, token: str | None = None) -> CommandRequest:
    """Make what came in."""
    return CommandRequest("POST", "/flowers", body, "r1", token, key)


async def plant(meta: Meta) -> Planted:
    """Decide on one event."""
    return Planted(id=meta.new_id(), bed="b1", at=meta.now)


async def test_a_decision_is_appended_and_answered() -> None:
    """The events, and the sequence of the last of them."""
    log = FakeLog()
    written = await Commands("garden", log, FakeClock()).run(request(), plant)
    assert written is not None
    assert written.sequence == 1
    [envelope] = log.stored.values()
    assert (envelope.source, envelope.type, envelope.subject) == ("/garden", "blog.Planted", "b1")
    assert envelope.requesthash is None


async def test_nothing_to_write_is_no_append() -> None:
    """An empty decision is a decision."""

    async def nothing(_: Meta) -> list[Event]:
        return []

    log = FakeLog()
    assert await Commands("garden", log, FakeClock()).run(request(), nothing) is None
    assert not log.timeouts


async def test_the_same_key_gives_the_same_answer_through_any_copy() -> None:
    """Another instance, later, without the memory of the first one: the stored event answers."""
    log, clock = FakeLog(), FakeClock()
    first = await Commands("garden", log, clock).run(request(key="k"), plant)
    clock.advance(60)
    again = await Commands("garden", log, clock).run(request(key="k"), plant)
    assert first is not None
    assert again is not None
    assert (again.events, again.sequence) == (first.events, first.sequence)
    assert len(log.stored) == 1


@pytest.mark.parametrize("other", [request(b"{ }", key="k")])
async def test_another_body_with_the_same_key_is_refused(other: CommandRequest) -> None:
    """The key belongs to what was first asked with it."""
    log = FakeLog()
    commands = Commands("garden", log, FakeClock())
    await commands.run(request(key="k"), plant)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await commands.run(other, plant)
    assert len(log.stored) == 1


@pytest.mark.parametrize("other", [request(key="l"), request(key="k", token="t"), request()])
async def test_other_keys_and_authors_do_not_meet(other: CommandRequest) -> None:
    """Ids come from method, path, author token, key and position together."""
    log = FakeLog()
    commands = Commands("garden", log, FakeClock())
    await commands.run(request(key="k"), plant)
    await commands.run(other, plant)
    assert len(log.stored) == 2


async def test_not_found_is_final_only_after_catching_up() -> None:
    """The view may be behind the log: catch up, decide once more."""
    caught_up: list[float] = []

    async def catch_up(timeout: float) -> None:
        caught_up.append(timeout)

    async def decide(meta: Meta) -> Any:
        if not caught_up:
            raise NotFound("not yet")
        return await plant(meta)

    assert await Commands("garden", FakeLog(), FakeClock()).run(request(), decide, catch_up)
    assert caught_up == [DEADLINE]


async def test_not_found_stays_not_found() -> None:
    """After catching up it is the answer."""

    async def decide(_: Meta) -> Any:
        raise NotFound("never")

    async def catch_up(_: float) -> None: ...

    with pytest.raises(NotFound):
        await Commands("garden", FakeLog(), FakeClock()).run(request(), decide, catch_up)


async def test_a_batch_is_appended_as_one() -> None:
    """Events of one decision travel together, and have ids of their own."""

    async def decide(meta: Meta) -> Append:
        return Append([await plant(meta), await plant(meta)], expect=3)

    log = FakeLog()
    written = await Commands("garden", log, FakeClock()).run(request(key="k"), decide)
    assert written is not None
    assert written.sequence == len(log.stored) == 2
    assert len(log.timeouts) == 1
