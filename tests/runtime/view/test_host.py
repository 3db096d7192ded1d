"""A view that follows the log: ready when it has caught up, built beside the old file, told in order."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from blog.core.background import background
from blog.core.errors import Unavailable
from blog.eventlog.client import BusDisconnected, EventBatch, EventLogClient
from blog.eventlog.wire import Head
from blog.runtime.view import host as view
from blog.runtime.view.files import ViewPosition, position_of
from blog.runtime.view.host import ViewHost
from tests.runtime.garden import LOG, Bed, Wider, batch, names_in, row, sown


class Log:
    """A log in memory that gives pages when it is let to."""

    def __init__(self, *rows: dict[str, Any], identity: str = LOG) -> None:
        self.identity = identity
        self.rows = list(rows)
        self.page = 100
        self.open = asyncio.Event()
        self.open.set()
        self.news = asyncio.Condition()
        self.asked: list[int] = []
        self.breaks = False

    async def head(self, timeout: float = 5.0) -> Head:
        """Tell which log it is and how long."""
        return Head(self.identity, len(self.rows))

    async def follow(self, after: int, types: Collection[str] = ()) -> AsyncIterator[EventBatch]:
        """Give what is there, a page at a time, and what comes."""
        self.asked.append(after)
        identity = self.identity
        while not self.breaks:
            await self.open.wait()
            part = self.rows[after : after + self.page]
            after += len(part)
            yield batch(part, through=after, log=identity)
            async with self.news:
                await self.news.wait_for(partial(self._has_news, after))
        raise BusDisconnected("it broke")

    def _has_news(self, after: int) -> bool:
        return self.breaks or len(self.rows) > after

    async def add(self, *rows: dict[str, Any]) -> None:
        """Append, and tell followers."""
        self.rows += rows
        async with self.news:
            self.news.notify_all()

    async def replace(self, rows: list[dict[str, Any]], identity: str = LOG) -> None:
        """Become another log: followers lose this one and come back."""
        self.identity, self.rows, self.breaks = identity, rows, True
        async with self.news:
            self.news.notify_all()
        while self.breaks:
            await asyncio.sleep(0)
            self.breaks = False


@pytest.fixture(autouse=True)
def _come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "_RECONNECT", 0.0)


@asynccontextmanager
async def following(folder: Path, log: Log, kind: type[Bed] = Bed) -> AsyncIterator[ViewHost]:
    """Run a view of `log`."""
    async with (
        ViewHost.open(kind, folder, cast("EventLogClient", log)) as host,
        background(host.follow_log()),
        asyncio.timeout(20),
    ):
        yield host


async def test_it_has_caught_up_when_it_holds_what_the_head_was(tmp_path: Path) -> None:
    """Until then nobody reads, and nothing is said to be applied."""
    log = Log(*sown(1, 250))
    log.open.clear()
    async with following(tmp_path, log) as host, asyncio.TaskGroup() as group:
        caught_up = group.create_task(host.catch_up_at_start())
        while host.log is None:
            await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await host.read(Bed.names)
        assert (host.applied, caught_up.done()) == (0, False)
        log.open.set()
        await caught_up
        assert (host.applied, len(await host.read(Bed.names))) == (250, 250)


async def test_an_empty_log_is_caught_up_with(tmp_path: Path) -> None:
    """There is nothing to wait for."""
    async with following(tmp_path, Log()) as host:
        await host.catch_up_at_start()
        assert await host.read(Bed.names) == []


async def test_live_events_are_published_in_order(tmp_path: Path) -> None:
    """Once each, with their place in the log, after they are in the rows."""
    log = Log(*sown(1, 10))
    async with following(tmp_path, log) as host:
        await host.catch_up_at_start()
        with host.changes() as changes:
            for number in range(11, 16):
                await log.add(row(number, f"live {number}"))
            for number in range(11, 16):
                applied = await anext(changes)
                assert applied.sequence == number
                assert f"live {number}" in await changes.read(Bed.names)
        await host.catch_up()
        assert host.applied == 15


async def test_who_listens_too_slowly_is_cut_off(tmp_path: Path) -> None:
    """Behind what it has got; nothing more is kept for it, however long it does not look."""
    log = Log(*sown(1, 1))
    async with following(tmp_path, log) as host:
        await host.catch_up_at_start()
        with host.changes() as changes, host.changes() as reading:
            for first in range(2, 3002, 100):
                await log.add(*sown(first, first + 99))
                for _ in range(100):
                    await anext(reading)
            await host.catch_up()
            got = [applied.sequence async for applied in changes]
            assert got == list(range(2, 2 + len(got)))
            assert 900 <= len(got) <= 1000
            assert changes._queue.empty()
            await log.add(row(3002, "one more"))
            assert (await anext(reading)).sequence == 3002
            assert changes._queue.empty()


async def test_a_build_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    """It asks only for what is missing, and the file of the older program stays until the swap."""
    log = Log(*sown(1, 300))
    async with following(tmp_path, log) as host:
        await host.catch_up_at_start()
    log.page = 1
    building = partial(position_of, tmp_path / "0.building.db", Wider.schema_hash())
    async with following(tmp_path, log, Wider):
        while (at := building()) is None or at.applied == 0:
            await asyncio.sleep(0)
        log.open.clear()
    assert len(names_in(tmp_path / "0.db") or ()) == 300
    begun = building()
    assert begun is not None
    assert 0 < begun.applied < 300
    async with following(tmp_path, log, Wider) as host:
        while log.asked != [0, 0, begun.applied]:
            await asyncio.sleep(0)
        assert host.applied == 0
        log.open.set()
        await host.catch_up_at_start()
        assert len(await host.read(Wider.names)) == 300


async def test_going_back_to_the_older_program_finds_its_file(tmp_path: Path) -> None:
    """Forth and back costs only what happened meanwhile."""
    log = Log(*sown(1, 10))
    for kind, after in [(Bed, 0), (Wider, 0), (Bed, 10), (Wider, 10)]:
        async with following(tmp_path, log, kind) as host:
            await host.catch_up_at_start()
            assert log.asked[-1] == after
            assert len(await host.read(kind.names)) == len(log.rows)
        if kind is Wider:
            log.rows.append(row(len(log.rows) + 1, f"more {len(log.rows)}"))


@pytest.mark.parametrize("identity", ["log-2", LOG])
async def test_another_log_or_a_shorter_one_is_built_beside(tmp_path: Path, identity: str) -> None:
    """Readers have the old rows, which count as nothing of the new log, then the new ones at once."""
    log = Log(*sown(1, 10))
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(following(tmp_path, log))
        await host.catch_up_at_start()
        changes = stack.enter_context(host.changes())
        log.open.clear()
        await log.replace([row(1, "other"), row(2, "again")], identity)
        while host.applied:
            await asyncio.sleep(0)
        assert len(await host.read(Bed.names)) == 10
        assert (host.log, await host.wait_for(1, 0)) == (identity, False)
        log.open.set()
        await host.catch_up()
        assert (host.applied, await host.read(Bed.names)) == (2, ["again", "other"])
        assert [item async for item in changes] == []


async def test_who_is_far_behind_asks_for_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the place for it and what it has to be ahead of; without one, the log is read."""
    monkeypatch.setattr(view, "SNAPSHOT_THRESHOLD", 100)
    asked: list[tuple[Path, ViewPosition]] = []

    async def fetch(target: Path, own: ViewPosition) -> bool:
        asked.append((target, own))
        return False

    for count, expected in [(100, 0), (101, 0), (202, 1), (302, 1)]:
        log = cast("EventLogClient", Log(*sown(1, count)))
        async with ViewHost.open(Bed, tmp_path, log, fetch) as host, background(host.follow_log()):
            await host.catch_up_at_start()
        assert len(asked) == expected
    assert asked == [(tmp_path / "0.incoming.db", ViewPosition(LOG, 101))]


async def test_what_breaks_the_stream_is_said_and_it_goes_on(tmp_path: Path) -> None:
    """From where it was."""
    log = Log(*sown(1, 10))
    with capture_logs() as logged:
        async with following(tmp_path, log) as host:
            await host.catch_up_at_start()
            await log.replace(sown(1, 12))
            await host.catch_up()
            assert log.asked == [0, 10]
    assert [item["applied"] for item in logged if item["event"] == "view.disconnected"] == [10]


@pytest.mark.parametrize("page", [1, 4, 100])
async def test_a_view_waits_where_it_cannot_read_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """It is said once; what came before it is shown, wherever a page ends, and it goes on when it can."""
    monkeypatch.setattr(view, "_UNREADABLE_RETRY", 0.0)
    log = Log(*sown(1, 10))
    log.page = page
    with capture_logs() as logged:
        async with following(tmp_path, log) as host:
            await host.catch_up_at_start()
            unreadable = row(13, "later") | {"data": ["of a later version"]}
            await log.add(*sown(11, 12), unreadable, *sown(14, 15))
            while log.asked.count(12) < 5:
                await asyncio.sleep(0.001)
            assert host.applied == 12
            assert len(await host.read(Bed.names)) == 12
            log.rows[12] = sown(13, 13)[0]
            await host.catch_up()
            assert len(await host.read(Bed.names)) == 15
    [line] = [item for item in logged if item["event"] == "event.unreadable"]
    assert (line["applied"], line["log_level"]) == (12, "error")


async def test_a_view_that_is_built_waits_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first event of a page as well: it goes on from there and not from the beginning."""
    monkeypatch.setattr(view, "_UNREADABLE_RETRY", 0.0)
    log = Log(*sown(1, 20))
    log.rows[12] |= {"data": None}
    async with following(tmp_path, log) as host:
        while log.asked.count(12) < 3:
            await asyncio.sleep(0.001)
        assert log.asked[:3] == [0, 12, 12]
        log.rows[12] = sown(13, 13)[0]
        await host.catch_up()
        assert len(await host.read(Bed.names)) == 20
