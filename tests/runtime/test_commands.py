"""Commands: decide, append, answer; the same request again is the same event."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import BlogError, Conflict, Forbidden, Invalid, NotFound, Unavailable
from blog.core.events import Envelope, Event
from blog.eventlog.wire import Appended
from blog.runtime.commands import DEADLINE, CommandRequest, CommandRunner, Decide
from tests.fakes import FakeClock


class Planted(Event, key="bed"):
    """A flower was planted."""

    id: str
    bed: str
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Watered(Event, key="bed"):
    """A bed was watered."""

    bed: str


class FakeLog:
    """A log in memory, with the dedup and the expectation of the real one. `meddle` comes before each."""

    def __init__(self, meddle: Callable[["FakeLog"], None] = lambda _: None) -> None:
        self.stored: dict[str, Envelope] = {}
        self.timeouts: list[float] = []
        self._meddle = meddle

    @property
    def head(self) -> int:
        """The last sequence."""
        return len(self.stored)

    def put(self, envelope: Envelope) -> Appended:
        """Keep it if it is new."""
        duplicate = envelope.id in self.stored
        self.stored.setdefault(envelope.id, envelope)
        sequence = list(self.stored).index(envelope.id) + 1
        return Appended(id=envelope.id, sequence=sequence, duplicate=duplicate)

    async def append(
        self,
        envelopes: Sequence[Envelope],
        *,
        expect: int | None = None,
        types: Collection[str] = (),
        timeout: float = 5.0,
    ) -> list[Appended]:
        """Keep what is new, or refuse all of it."""
        self.timeouts.append(timeout)
        self._meddle(self)
        if expect is not None and any(item.id not in self.stored for item in envelopes):
            behind = list(self.stored.values())[expect:]
            if any(item.type in (types or {item.type}) for item in behind):
                raise Conflict("The key moved on.")
        return [self.put(envelope) for envelope in envelopes]

    async def get(self, event_id: str) -> Envelope | None:
        """Look it up."""
        return self.stored.get(event_id)


def request(body: bytes = b"{}", key: str | None = None, token: str | None = None) -> CommandRequest:
    """Make what came in."""
    return CommandRequest("POST", "/flowers", body, "r1", token, key)


async def plant(meta: Meta) -> Planted:
    """Decide on one event."""
    return Planted(id=meta.new_id(), bed="b1", at=meta.now)


def others(event: Event, times: int) -> Callable[[FakeLog], None]:
    """Let somebody else append `event` before each append of ours, up to `times` times."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def meddle(log: FakeLog) -> None:
        if len(log.timeouts) <= times:
            log.put(Envelope.of(event, id=f"o{len(log.timeouts)}", service="o", time=now))

    return meddle


class FakeView:
    """Knows how far it is, and gets to the log's head when asked to."""

    def __init__(self, log: FakeLog) -> None:
        self.applied = 0
        self.rounds: list[float] = []
        self._log = log

    async def catch_up(self, timeout: float) -> None:
        """Hold what the log holds."""
        self.rounds.append(timeout)
        self.applied = self._log.head

    async def plant(self, meta: Meta) -> Append:
        """Decide on one event by the rows."""
        return Append([await plant(meta)], expect=self.applied, before=self.applied)


async def test_a_decision_is_appended_before_the_response() -> None:
    """The events, and the sequence of the last of them."""
    log = FakeLog()
    written = await CommandRunner("garden", log, FakeClock()).run(request(), plant)
    assert written.sequence == 1
    [envelope] = log.stored.values()
    assert (envelope.source, envelope.type, envelope.subject) == ("/garden", "blog.Planted", "b1")
    assert envelope.requesthash is None


@pytest.mark.parametrize("decision", [[], None, Append([], expect=3)])
async def test_nothing_to_write_is_no_append(decision: Any) -> None:
    """An empty decision is a decision."""

    async def nothing(_: Meta) -> Any:
        return decision

    log = FakeLog()
    assert await CommandRunner("garden", log, FakeClock()).run(request(), nothing) == Unchanged()
    assert not log.timeouts


async def test_the_same_key_gives_the_same_response_through_any_replica() -> None:
    """Another instance, later, without the memory of the first one: the stored event answers."""
    log, clock = FakeLog(), FakeClock()
    first = await CommandRunner("garden", log, clock).run(request(key="k"), plant)
    clock.advance(60)
    again = await CommandRunner("garden", log, clock).run(request(key="k"), plant)
    assert isinstance(first, Written)
    assert again == first
    assert len(log.stored) == 1


@pytest.mark.parametrize("other", [request(b"{ }", key="k")])
async def test_another_body_with_the_same_key_is_refused(other: CommandRequest) -> None:
    """The key belongs to what was first asked with it."""
    log = FakeLog()
    commands = CommandRunner("garden", log, FakeClock())
    await commands.run(request(key="k"), plant)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await commands.run(other, plant)
    assert len(log.stored) == 1


@pytest.mark.parametrize("other", [request(key="l"), request(key="k", token="t"), request()])
async def test_other_keys_and_authors_do_not_meet(other: CommandRequest) -> None:
    """Ids come from method, path, author token, key and position together."""
    log = FakeLog()
    commands = CommandRunner("garden", log, FakeClock())
    await commands.run(request(key="k"), plant)
    await commands.run(other, plant)
    assert len(log.stored) == 2


def at_first(view: FakeView, outcome: BlogError | Unchanged) -> Decide:
    """Decide on `outcome` until the view has caught up, then on an event."""

    async def decide(meta: Meta) -> Any:
        if view.rounds:
            return await plant(meta)
        if isinstance(outcome, BlogError):
            raise outcome
        return outcome

    return decide


@pytest.mark.parametrize(
    "outcome", [NotFound("not yet"), Conflict("not yet"), Forbidden("not yet"), Unchanged("as it was", 1)]
)
async def test_what_the_log_does_not_check_is_final_only_after_catching_up(
    outcome: BlogError | Unchanged,
) -> None:
    """The view may be behind the log: catch up, decide once more."""
    log = FakeLog()
    view = FakeView(log)
    commands = CommandRunner("garden", log, FakeClock())
    written = await commands.run(request(), at_first(view, outcome), view.catch_up)
    assert isinstance(written, Written)
    assert view.rounds == [DEADLINE]


@pytest.mark.parametrize("error", [NotFound, Conflict, Forbidden])
async def test_a_refusal_stays_one(error: type[BlogError]) -> None:
    """After catching up it is the answer, and without a view at once."""

    async def decide(_: Meta) -> Any:
        raise error("never")

    log = FakeLog()
    commands = CommandRunner("garden", log, FakeClock())
    for catch_up in (FakeView(log).catch_up, None):
        with pytest.raises(error):
            await commands.run(request(), decide, catch_up)


async def test_a_batch_is_appended_as_one() -> None:
    """Events of one decision travel together, and have ids of their own."""

    async def decide(meta: Meta) -> Append:
        return Append([await plant(meta), await plant(meta)], expect=3, before="earth")

    log = FakeLog()
    written = await CommandRunner("garden", log, FakeClock()).run(request(key="k"), decide)
    assert isinstance(written, Written)
    assert (written.sequence, written.before) == (len(log.stored), "earth") == (2, "earth")
    assert len(log.timeouts) == 1


@pytest.mark.parametrize("key", [None, "k"])
async def test_what_the_log_has_overtaken_is_decided_again(key: str | None) -> None:
    """A round for each time that the key moved on; what was written stands on the last one."""
    log = FakeLog(others(Watered(bed="b1"), times=3))
    view = FakeView(log)
    commands = CommandRunner("garden", log, FakeClock())
    written = await commands.run(request(key=key), view.plant, view.catch_up)
    assert isinstance(written, Written)
    assert (written.sequence, written.before) == (4, 3)
    assert len(view.rounds) == 3
    if key is not None:
        # ids begin again with each decision: they are those of the first one
        again = await commands.run(request(key=key), view.plant, view.catch_up)
        assert isinstance(again, Written)
        assert (again.events, again.sequence) == (written.events, 4)


async def test_deciding_again_may_come_to_something_else() -> None:
    """The rows say no now: that is the answer."""
    log = FakeLog(others(Watered(bed="b1"), times=1))
    view = FakeView(log)

    async def decide(meta: Meta) -> Append:
        if view.applied:
            raise NotFound("it is gone")
        return await view.plant(meta)

    with pytest.raises(NotFound):
        await CommandRunner("garden", log, FakeClock()).run(request(), decide, view.catch_up)
    assert log.head == 1


async def test_what_does_not_count_is_no_reason_to_decide_again() -> None:
    """The expectation names the types that matter."""
    log = FakeLog(others(Watered(bed="b1"), times=1))
    view = FakeView(log)

    async def decide(meta: Meta) -> Append:
        return (await view.plant(meta))._replace(types=(Planted,))

    written = await CommandRunner("garden", log, FakeClock()).run(request(), decide, view.catch_up)
    assert (written.sequence, view.rounds) == (2, [])


async def test_a_key_that_never_rests_is_a_conflict_at_the_deadline() -> None:
    """As many rounds as there is time for, then 409; nothing is written."""
    clock = FakeClock()

    def meddle(log: FakeLog) -> None:
        clock.advance(1.5)
        others(Watered(bed="b1"), times=99)(log)

    log = FakeLog(meddle)
    view = FakeView(log)
    with pytest.raises(Conflict):
        await CommandRunner("garden", log, clock).run(request(), view.plant, view.catch_up)
    assert log.timeouts == [5.0, 3.5, 2.0, 0.5]
    assert {item.type for item in log.stored.values()} == {Watered.type}


async def refuses(_: float) -> None:
    """Be a view that does not get there in time."""
    raise Unavailable("The view has not caught up with the log yet.")


async def stays(_: float) -> None:
    """Be a view whose catching up changes nothing."""


@pytest.mark.parametrize("catch_up", [refuses, stays, None])
async def test_a_decision_that_cannot_be_better_next_time_is_a_conflict(
    catch_up: Callable[[float], Awaitable[None]] | None,
) -> None:
    """No view, one that does not catch up, or one that stands where it stood: once, and no loop."""
    log = FakeLog(others(Watered(bed="b1"), times=99))
    view = FakeView(log)
    with pytest.raises(Conflict):
        await CommandRunner("garden", log, FakeClock()).run(request(), view.plant, catch_up)
    assert len(log.timeouts) == 1
