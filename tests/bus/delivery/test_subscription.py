"""A subscription between the log and its dispatch: what it holds, and when it wakes up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blog.bus.delivery.dispatch import BACKLOG, Dispatch
from blog.bus.delivery.outcome import DeliveryFailure
from blog.bus.delivery.subscription import FLUSH_AFTER, FLUSH_AT, RETRY_AFTER, Subscription, _time_of
from blog.bus.log.log import EventLog
from blog.bus.log.schema import LogEntry, SettledEvent, SettledState, SubscriptionPosition
from blog.core.errors import StorageFull
from blog.core.events import Envelope
from blog.core.reactions import Outcome, Result
from tests.fakes import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TYPE = "blog.Cause"


def cause(n: int, key: str = "k") -> Envelope:
    """Give an event to react to."""
    return Envelope(id=f"c{n}", source="/t", type=TYPE, subject=key, time=NOW, data={})


@pytest.fixture
async def event_log(tmp_path: Path) -> AsyncIterator[EventLog]:
    """Give a log that knows the subscription `s`."""
    async with EventLog.open(tmp_path / "log.db") as opened:
        await opened.subscribe("s", frozenset({TYPE}))
        yield opened


def subscribed(event_log: EventLog, clock: FakeClock) -> Subscription:
    """Give the subscription as it is at first."""
    return Subscription("s", SubscriptionPosition(frozenset({TYPE})), event_log, clock)


async def test_a_paused_one_does_not_look_again_for_what_is_due(event_log: EventLog) -> None:
    """What was to be tried again stays due: that must not keep it busy."""
    clock = FakeClock()
    subscription = subscribed(event_log, clock)
    await event_log.append([cause(1)])
    await subscription.refill()
    await subscription.record_outcome(
        subscription.dispatch.next_batch(clock.monotonic()), DeliveryFailure("no")
    )
    await subscription.pause(is_paused=True)
    subscription.wake.clear()
    clock.advance(60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await subscription.wait()
    await subscription.pause(is_paused=False)
    await subscription.wait()
    assert subscription.dispatch.may_send(clock.monotonic())


async def test_what_is_asked_to_wait_waits_behind_what_worked_too(event_log: EventLog) -> None:
    """`retry_after` is obeyed wherever in a batch the event is that asks for it; it goes alone then."""
    clock = FakeClock()
    subscription = subscribed(event_log, clock)
    await event_log.append([cause(n) for n in range(3)])
    await subscription.refill()
    sent = subscription.dispatch.next_batch(clock.monotonic())
    await subscription.record_outcome(
        sent,
        [
            Result(id="c0", outcome=Outcome.DONE),
            Result(id="c1", outcome=Outcome.RETRY, retry_after=5),
            Result(id="c2", outcome=Outcome.RETRY),
        ],
    )
    assert not subscription.dispatch.may_send(clock.monotonic() + 4.9)
    [batch] = subscription.dispatch.next_batch(clock.monotonic() + 5)
    assert (batch.attempt, [entry.id for entry in batch.entries]) == (2, ["c1"])
    assert subscription.attempts == {"done": 1, "retry": 1}


async def test_acknowledgements_wait_for_so_long_or_so_many(event_log: EventLog) -> None:
    """And no longer: 50 ms after the first one, or with the 200th, they are on disk."""
    clock = FakeClock()
    subscription = subscribed(event_log, clock)
    await event_log.append([cause(n, f"k{n}") for n in range(FLUSH_AT + 1)])
    await subscription.refill()
    watermarks = []
    for _ in range(FLUSH_AT + 1):
        [batch] = subscription.dispatch.next_batch(clock.monotonic(), 1)
        await subscription.record_outcome([batch], [Result(id=batch.entries[0].id, outcome=Outcome.DONE)])
        watermarks.append((await event_log.positions())["s"].watermark)
    assert watermarks == [0] * (FLUSH_AT - 1) + [FLUSH_AT] * 2
    clock.advance(FLUSH_AFTER)
    async with asyncio.timeout(1):
        await subscription.wait()
    await subscription.refill()
    assert (await event_log.positions())["s"].watermark == FLUSH_AT + 1


async def test_a_replay_takes_back_what_could_not_be_flushed(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written after it, it would not be delivered again after a crash."""
    subscription = subscribed(event_log, FakeClock())
    await event_log.append([cause(1)])
    await subscription.refill()
    sent = subscription.dispatch.next_batch(0)
    await subscription.record_outcome(sent, [Result(id="c1", outcome=Outcome.DONE)])

    async def replayed_meanwhile(*_: object) -> None:
        await subscription.replay(0)
        raise StorageFull("The log's disk is full.")

    with monkeypatch.context() as full:
        full.setattr(event_log, "settle", replayed_meanwhile)
        await subscription.flush()
    await subscription.flush()
    position = (await event_log.positions())["s"]
    assert (position.watermark, position.settled) == (0, frozenset())


async def dead(event_log: EventLog, count: int, clock: FakeClock) -> Subscription:
    """Give the subscription with `count` events of one key after a dead one."""
    for start in range(0, count + 1, 1000):
        await event_log.append([cause(n) for n in range(start, min(start + 1000, count + 1))])
    await event_log.settle("s", [SettledEvent(1, "k", 1, SettledState.DEAD, "never")], [], 1)
    return Subscription("s", (await event_log.positions())["s"], event_log, clock)


async def test_what_is_parked_passes_through_memory_page_by_page(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come after a dead event, they are never held all at once."""
    subscription = await dead(event_log, 3 * BACKLOG, FakeClock())
    park, sizes = Dispatch.park, list[int]()

    def parking(dispatch: Dispatch, entries: Sequence[LogEntry]) -> None:
        sizes.append(len(entries))
        park(dispatch, entries)

    monkeypatch.setattr(Dispatch, "park", parking)
    await subscription.refill()
    assert (sum(sizes), subscription.dispatch.parked) == (3 * BACKLOG, 3 * BACKLOG)
    assert subscription.dispatch.watermark == event_log.head
    assert max(sizes) <= 500


async def test_what_cannot_be_parked_is_bounded_and_parked_later(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: no more is taken in, and it is tried again without anybody's doing."""
    clock = FakeClock()
    subscription = await dead(event_log, 2 * BACKLOG, clock)
    with monkeypatch.context() as full:
        full.setattr(event_log, "settle", refusing)
        await subscription.refill()
    assert BACKLOG <= subscription.dispatch.parked < BACKLOG + 500
    clock.advance(RETRY_AFTER)
    async with asyncio.timeout(1):
        await subscription.wait()
    await subscription.refill()
    assert subscription.dispatch.parked == 2 * BACKLOG
    assert subscription.dispatch.watermark == event_log.head


async def test_a_replay_that_the_log_refuses_changes_nothing(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is dead stays dead and can be redriven, and what was out comes again."""
    subscription = await dead(event_log, 2, FakeClock())
    await event_log.append([cause(9, "other")])
    await subscription.refill()
    subscription.dispatch.next_batch(0)
    with monkeypatch.context() as full:
        full.setattr(event_log, "replay", refusing)
        with pytest.raises(StorageFull):
            await subscription.replay(0)
    await subscription.refill()
    assert subscription.dispatch.dead == {"k"}
    [batch] = subscription.dispatch.next_batch(0)
    assert batch.key == "other"
    await subscription.redrive(1)
    await subscription.refill()
    [batch] = subscription.dispatch.next_batch(0)
    assert [entry.id for entry in batch.entries] == ["c0", "c1", "c2"]


async def refusing(*_: object) -> None:
    """Be a log that cannot write."""
    raise StorageFull("The log's disk is full.")


@pytest.mark.parametrize("envelope", ["", "not JSON", "[]", "{}", "[" * 100_000, "9" * 5000])
def test_an_event_that_cannot_be_read_has_no_time(envelope: str) -> None:
    """Its subscription is described all the same."""
    assert _time_of(LogEntry(1, "e1", "blog.Odd", "k", envelope)) is None
    assert _time_of(LogEntry(1, "e1", "blog.Odd", "k", '{"time": "2026"}')) == "2026"
