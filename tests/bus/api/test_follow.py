"""Open streams of the log: everybody gets everything once, whoever they are and however slow."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from blog.bus.api import follow
from blog.bus.api.follow import FollowStreams
from blog.bus.log.log import EventLog
from blog.bus.log.tail import PAGE_BYTES, EventFilter
from blog.core.events import Envelope
from blog.core.web import bearer
from blog.eventlog.client import EventBatch
from blog.eventlog.wire import LOG_HEADER
from tests.bus.conftest import TOKEN, Rig

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(n: int, type_: str = "blog.T", size: int = 1) -> Envelope:
    """Give an event."""
    data = {"text": "x" * size}
    return Envelope(id=f"e{n}", source="/t", type=type_, subject=f"k{n}", time=NOW, data=data)


async def collect(rig: Rig, after: int, count: int, types: tuple[str, ...] = ()) -> list[str]:
    """Follow until `count` events have come; return their ids."""
    found: list[str] = []
    async with asyncio.timeout(10):
        async for batch in rig.client.follow(after, types):
            assert isinstance(batch, EventBatch)
            found += [envelope.id for envelope in batch.events]
            if len(found) >= count:
                break
    return found


async def test_many_followers_get_the_same_and_others_what_they_asked_for(rig: Rig) -> None:
    """From wherever they begin: from disk, from memory, live."""
    await rig.client.append([event(n) for n in range(30)])
    async with asyncio.TaskGroup() as group:
        whole = [group.create_task(collect(rig, after, 60 - after)) for after in (0, 0, 10, 30, 30)]
        typed = group.create_task(collect(rig, 0, 10, ("blog.Other",)))
        for n in range(30, 60):
            await rig.client.append([event(n, "blog.Other" if n % 3 == 0 else "blog.T")])
    for task, after in zip(whole, (0, 0, 10, 30, 30), strict=True):
        assert task.result() == [f"e{n}" for n in range(after, 60)]
    assert typed.result() == [f"e{n}" for n in range(30, 60, 3)]


class _Response:
    """Takes what is written to a follower, and keeps it."""

    def __init__(self, count: int) -> None:
        self.written: list[bytes] = []
        self.is_full = asyncio.Event()
        self._count = count

    async def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)
        if len(self.written) == self._count:
            self.is_full.set()


async def test_a_page_is_encoded_once_for_all_who_are_equally_far(tmp_path: Any) -> None:
    """Ten followers, one encoding for each append: the very same bytes."""
    async with EventLog.open(tmp_path / "log.db") as log:
        followers = FollowStreams(log)
        followers.open(SimpleNamespace(draining=asyncio.Event()))  # type: ignore[arg-type] # what is used of it
        responses: list[Any] = [_Response(4) for _ in range(10)]
        async with asyncio.TaskGroup() as group:
            feeds = []
            for response in responses:
                with followers._append_signal() as appended:
                    feeds.append(group.create_task(followers._feed(response, 0, EventFilter(), appended)))
                    log.on_append(appended.set)
            for n in range(3):
                await asyncio.sleep(0)
                await log.append([event(n)])
                async with asyncio.timeout(5):
                    while min(len(response.written) for response in responses) < n + 2:
                        await asyncio.sleep(0)
            for feed in feeds:
                feed.cancel()
        assert followers.encoded == 4
        for pages in zip(*(response.written for response in responses), strict=True):
            assert len({id(page) for page in pages}) == 1
        assert not followers.positions()


async def test_few_pages_are_kept_while_nothing_is_appended(tmp_path: Any) -> None:
    """From wherever followers come back to a quiet log: a page for each would not be given back."""
    async with EventLog.open(tmp_path / "log.db") as log:
        followers = FollowStreams(log)
        await log.append([event(n) for n in range(100)])
        for after in range(100):
            page = await log.read(after, follow.PAGE)
            assert followers._encoded(after, EventFilter(), page) == follow._encode(page)
        assert len(followers._pages) <= follow.CACHED_PAGES


async def test_a_quiet_follower_gets_to_know_how_far_it_is(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, even where nothing of what it wants comes."""
    monkeypatch.setattr(follow, "HEARTBEAT", 0.05)
    await rig.client.append([event(1)])
    positions: list[int] = []
    async with asyncio.timeout(5):
        async for batch in rig.client.follow(0, ["blog.Other"]):
            assert not batch.events
            positions.append(batch.through)
            if len(positions) == 3:
                break
    assert positions == [1, 1, 1]


async def test_who_reads_too_slowly_is_cut_off_and_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream breaks instead of filling memory; what was missed is there when it returns."""
    monkeypatch.setattr(follow, "SEND_TIMEOUT", 0.2)
    count = 60
    for n in range(count):
        await rig.client.append([event(n, size=PAGE_BYTES // 6)])
    url = f"{rig.url}/events?after=0&follow=true"
    async with rig.http.get(url, headers=bearer(TOKEN), read_bufsize=1024) as response:
        assert response.headers[LOG_HEADER]
        async with asyncio.timeout(10):  # nothing is read meanwhile: it is the bus that gives up
            while (await metric(rig, "blog_bus_followers")) > 0:
                await asyncio.sleep(0.01)
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert await collect(rig, 0, count) == [f"e{n}" for n in range(count)]


async def metric(rig: Rig, name: str) -> float:
    """Read a metric of the bus."""
    async with rig.http.get(f"{rig.url}/metrics", headers=bearer(TOKEN)) as response:
        lines = (await response.text()).splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
