"""A subscription between the log and the dispatcher: what it holds, and when it looks again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blog.bus.log import Log
from blog.bus.outcome import Failure
from blog.bus.schema import Position
from blog.bus.subscription import Subscription
from blog.core.events import Envelope
from tests.fakes import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TYPE = "blog.Cause"


def cause(n: int, key: str = "k") -> Envelope:
    """Give an event to react to."""
    return Envelope(id=f"c{n}", source="/t", type=TYPE, subject=key, time=NOW, data={})


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Log]:
    """Give a log that knows the subscription `s`."""
    async with Log.open(tmp_path / "log.db") as opened:
        await opened.subscribe("s", frozenset({TYPE}))
        yield opened


def subscribed(journal: Log, clock: FakeClock) -> Subscription:
    """Give the subscription as it is at first."""
    return Subscription("s", Position(frozenset({TYPE})), journal, clock)


async def test_a_paused_one_does_not_look_again_for_what_is_due(journal: Log) -> None:
    """What was to be tried again stays due: that must not keep it busy."""
    clock = FakeClock()
    running = subscribed(journal, clock)
    await journal.append([cause(1)])
    await running.refill()
    await running.put_down(running.dispatch.next_load(clock.monotonic()), Failure("no"))
    await running.pause(is_paused=True)
    running.wake.clear()
    clock.advance(60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await running.wait()
    await running.pause(is_paused=False)
    await running.wait()
    assert running.dispatch.may_send(clock.monotonic())
