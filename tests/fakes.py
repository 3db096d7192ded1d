"""Fakes that several tests share, written once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.contract import Service
from blog.core.events import Envelope, Event
from blog.core.ids import new_id
from blog.core.net.access_policy import AccessPolicy
from blog.eventlog.client import BusDisconnected, EventBatch, EventLogClient
from blog.eventlog.wire import Head
from blog.lifecycle.member import Member
from blog.runtime.handler_context import HandlerContext
from blog.runtime.view.host import ViewHost
from blog.runtime.web import make_app


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def monotonic(self) -> float:
        """Tell the seconds since the start of the test, plus what it began with."""
        return self._now

    def now(self) -> datetime:
        """Tell the same on a wall clock that began at 2026-01-01 in UTC."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._now)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds


class FakeBus:
    """A log in memory, as those see it who follow."""

    def __init__(self, log: str = "0" * 36) -> None:
        self.log = log
        self.envelopes: list[Envelope] = []
        self.followed: list[int] = []
        self.is_lost = False
        self._news = asyncio.Condition()

    async def append(self, *events: Event) -> int:
        """Put events behind the last one; return the sequence of the last."""
        async with self._news:
            for event in events:
                made = Envelope.of(event, id=new_id(), service="given", time=datetime.now(UTC))
                number = len(self.envelopes) + 1
                self.envelopes.append(made.model_copy(update={"sequence": number}))
            self._news.notify_all()
        return len(self.envelopes)

    async def become(self, log: str, *events: Event) -> None:
        """Be another log, with these events."""
        async with self._news:
            self.log = log
            self.envelopes.clear()
        await self.append(*events)

    async def head(self, timeout: float = 5.0) -> Head:
        """Say how long it is."""
        return Head(self.log, len(self.envelopes))

    async def follow(self, after: int, types: Collection[str] = ()) -> AsyncGenerator[EventBatch]:
        """Yield what is there behind `after`, then what comes."""
        self.followed.append(after)
        log = self.log
        while True:
            if self.is_lost:
                raise BusDisconnected("It is not there.")
            events = [item for item in self.envelopes[after:] if not types or item.type in types]
            after = len(self.envelopes)
            lines = "\n".join(event.to_json() for event in events).encode()
            yield EventBatch(self.log, lines, after)
            async with self._news:
                await self._news.wait_for(lambda: (self.log, len(self.envelopes)) != (log, after))
            if self.log != log:
                raise BusDisconnected("It is another one now.")


class RunningService(NamedTuple):
    """One instance of a service with a view, behind a real door, that follows `bus`."""

    context: HandlerContext
    bus: FakeBus
    client: TestClient[Any, Any]

    async def apply(self, *events: Event) -> int:
        """Append, and wait until the view has it; return the sequence of the last event."""
        assert self.context.view is not None
        sequence = await self.bus.append(*events)
        assert await self.context.view.wait_for(sequence, 5.0)
        return sequence


@asynccontextmanager
async def running_service(
    service: Service, folder: Path, bus: FakeBus | None = None
) -> AsyncIterator[RunningService]:
    """Run an instance of `service` without a registry: its door, its view, and a log in memory."""
    bus = bus or FakeBus()
    client = cast("EventLogClient", bus)
    context = HandlerContext(service, None)
    context.bus = client
    member = SimpleNamespace(
        clock=SystemClock(),
        metrics=CollectorRegistry(),
        streaming=nullcontext,
        draining=asyncio.Event(),
    )
    context.member = cast("Member", member)
    assert service.view is not None
    async with (
        ViewHost.open(service.view, folder, client) as context.view,
        background(context.view.follow_log()),
        TestClient(TestServer(make_app(context, AccessPolicy(), 1 << 20))) as http,
    ):
        await context.view.catch_up_at_start()
        context.is_open = True
        yield RunningService(context, bus, http)
        member.draining.set()
