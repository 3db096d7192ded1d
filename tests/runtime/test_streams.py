"""Streams: what a client missed comes first, in order, each once; or it is told that it is too much."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from blog.core.contract import Changes, ServerSent, Service
from blog.core.events import Event
from blog.core.view import View, applies
from blog.runtime.streams import (
    LAST_EVENT_ID,
    LAST_EVENT_ID_PARAMETER,
    MAX_MISSED,
    StreamPosition,
    _send,
)
from tests.fakes import FakeBus, RunningService, running_service


class Struck(Event, key="clock"):
    """A clock struck."""

    clock: str
    times: int


class Stopped(Event, key="clock"):
    """A clock stopped: the view does not care."""

    clock: str


class Clocks(View):
    """How often each clock struck."""

    schema = "CREATE TABLE strokes (times INTEGER NOT NULL) STRICT;"

    @applies(Struck)
    def strike(self, db: Any, event: Struck) -> None:
        """Keep it."""
        db.execute("INSERT INTO strokes VALUES (?)", (event.times,))

    def has(self, times: int) -> bool:
        """Return whether a clock struck so often."""
        return self.db.execute("SELECT 1 FROM strokes WHERE times = ?", (times,)).fetchone() is not None


service = Service("clocks", view=Clocks)


@service.stream("GET", "/strokes")
async def strokes(changes: Changes) -> AsyncIterator[ServerSent]:
    """Tell of every stroke, and whether the view shows it already."""
    async for sequence, event in changes:
        assert isinstance(event, Struck)
        data = {"times": event.times, "shown": await changes.read(Clocks.has, event.times)}
        yield ServerSent("struck", data, sequence)


class Heard(NamedTuple):
    """One event as a browser takes it."""

    event: str
    data: Any
    id: str


@asynccontextmanager
async def listening(
    at: RunningService, last_id: str | None = None, parameter: str | None = None
) -> AsyncIterator[AsyncIterator[Heard]]:
    """Listen as an EventSource does (WHATWG HTML §9.2.6), of its own accord or with `parameter`."""
    headers = {} if last_id is None else {LAST_EVENT_ID: last_id}
    params = {} if parameter is None else {LAST_EVENT_ID_PARAMETER: parameter}
    async with at.client.get("/strokes", headers=headers, params=params) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")

        async def heard() -> AsyncIterator[Heard]:
            fields: dict[str, str] = {}
            remembered = last_id or ""
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                remembered = fields.get("id", remembered)
                if "data" in fields or "id" in fields:
                    yield Heard(
                        fields.get("event", ""), json.loads(fields.get("data", "null")), remembered
                    )
                fields = {}
            raise EOFError

        yield heard()


async def take(heard: AsyncIterator[Heard], count: int) -> list[Heard]:
    """Take the next `count` events."""
    async with asyncio.timeout(5):
        return [await anext(heard) for _ in range(count)]


def struck(*times: int) -> list[Event]:
    """Give strokes."""
    return [Struck(clock="c", times=n) for n in times]


def times(heard: list[Heard]) -> list[int]:
    """List the strokes heard; each was in the view when it was told of."""
    assert all(item.data["shown"] for item in heard)
    return [item.data["times"] for item in heard]


async def test_who_comes_first_hears_what_comes_and_where_it_is(tmp_path: Path) -> None:
    """Nothing of before; an id from the start, so that being cut off before any event is no loss."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1, 2))
        async with listening(at) as heard:
            (opening,) = await take(heard, 1)
            assert opening == Heard("", None, f"{at.bus.log}:2")
            await at.apply(*struck(3, 4))
            assert times(await take(heard, 2)) == [3, 4]
        await at.apply(*struck(5))
        async with listening(at, opening.id) as heard:
            assert times(await take(heard, 3)) == [3, 4, 5]


async def test_whoever_asks_for_the_head_only_gets_no_stream(tmp_path: Path) -> None:
    """It would never end, and nobody would hear of it."""
    async with running_service(service, tmp_path) as at, asyncio.timeout(5):
        response = await at.client.head("/strokes")
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await response.read() == b""


@pytest.mark.parametrize("cut", range(8))
async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(tmp_path: Path, cut: int) -> None:
    """Wherever it was cut off, whatever else is in the log, also through another instance; then live."""
    async with running_service(service, tmp_path / "a") as first:
        for number in range(1, 5):
            await first.apply(Struck(clock="c", times=number), Stopped(clock="c"))
        expected = [n for n in range(1, 5) if 2 * n - 1 > cut]
        async with running_service(service, tmp_path / "b", first.bus) as second:
            for at in (first, second):
                async with listening(at, f"{at.bus.log}:{cut}") as heard:
                    again = await take(heard, len(expected))
                    assert times(again) == expected
                    number = len(at.bus.envelopes)
                    await at.apply(*struck(number))
                    (live,) = await take(heard, 1)
                    assert times([live]) == [number]
                    assert live.id == f"{at.bus.log}:{number + 1}"
                    expected.append(number)


async def test_what_comes_while_the_missed_is_read_comes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener is there before the log is asked: both have it, it is told once."""
    bus = FakeBus()
    async with running_service(service, tmp_path, bus) as at:
        await at.apply(*struck(1, 2))
        follow = bus.follow
        applied = asyncio.Event()

        async def slowly(after: int, types: Any = ()) -> Any:
            await at.apply(*struck(3))
            applied.set()
            async for batch in follow(after, types):
                yield batch

        monkeypatch.setattr(bus, "follow", slowly)
        async with listening(at, f"{bus.log}:1") as heard:
            assert times(await take(heard, 2)) == [2, 3]
            assert applied.is_set()
            await at.apply(*struck(4))
            assert times(await take(heard, 1)) == [4]


@pytest.mark.parametrize(
    ("last_id", "why", "patience"),
    [
        ("{log}:1", "it is too far behind", 60),
        ("{log}:2000", "nothing was ever there", 0.05),
        ("{log}:999999999999999999", "the same", 0.05),
        ("11111111-1111-1111-1111-111111111111:1", "it is another log", 60),
    ],
)
async def test_who_cannot_go_on_is_told_so(
    tmp_path: Path, last_id: str, why: str, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reset`, at once where that can be known, and with the id of now; from there it is live."""
    monkeypatch.setattr("blog.runtime.streams.RESUME_TIMEOUT", patience)
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(*range(1, MAX_MISSED + 3)))
        async with listening(at, last_id.format(log=at.bus.log)) as heard:
            (reset,) = await take(heard, 1)
            assert reset == Heard("reset", {}, f"{at.bus.log}:{MAX_MISSED + 2}"), why
            await at.apply(*struck(7))
            assert times(await take(heard, 1)) == [7]


async def test_as_much_as_is_kept_can_be_missed(tmp_path: Path) -> None:
    """One more would be a reset."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(*range(1, MAX_MISSED + 3)))
        async with listening(at, f"{at.bus.log}:2") as heard:
            assert times(await take(heard, MAX_MISSED)) == list(range(3, MAX_MISSED + 3))


@pytest.mark.parametrize(("place", "expected"), [(3, ["struck", "struck"]), (2, ["reset"])])
async def test_an_event_that_cannot_be_read_is_in_nobodys_way_before_it(
    tmp_path: Path, place: int, expected: list[str]
) -> None:
    """The view waits there: who comes back gets what is before it. After one nobody can go on."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1, 2, 3))
        unreadable = at.bus.envelopes[0].model_copy(update={"sequence": 0})  # none is
        at.bus.envelopes[place : place + 1] = [unreadable]
        async with listening(at, f"{at.bus.log}:1") as heard:
            assert [item.event for item in await take(heard, len(expected))] == expected


async def test_without_the_log_nobody_can_go_on(tmp_path: Path) -> None:
    """The view is there, what was missed is not: reset, and what is shown is from the view."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1, 2))
        at.bus.is_lost = True
        async with listening(at, f"{at.bus.log}:1") as heard:
            assert (await take(heard, 1))[0].event == "reset"


async def test_a_view_that_is_behind_the_client_catches_up_first(tmp_path: Path) -> None:
    """It came from an instance that was further: what it knows is not told again."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1))

        async def come() -> list[int]:
            async with listening(at, f"{at.bus.log}:3") as heard:
                return times(await take(heard, 1))

        coming = asyncio.create_task(come())
        await at.apply(*struck(2, 3, 4))
        assert await coming == [4]


@pytest.mark.parametrize("last_id", ["", "7", "x:y", "nonsense", ":1", "a:-1", "a:" + "9" * 19, "a:٣"])
async def test_what_is_no_id_is_as_if_there_were_none(tmp_path: Path, last_id: str) -> None:
    """An error would end an EventSource for good (WHATWG HTML §9.2.3): it only listens from now on."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1))
        async with listening(at, last_id) as heard:
            assert await take(heard, 1) == [Heard("", None, f"{at.bus.log}:1")]


async def test_a_new_client_can_say_where_it_was(tmp_path: Path) -> None:
    """In the query, as a script cannot send the header; the header, if it is there, is newer."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1, 2, 3))
        async with listening(at, parameter=f"{at.bus.log}:1") as heard:
            assert times(await take(heard, 2)) == [2, 3]
        async with listening(at, f"{at.bus.log}:2", parameter=f"{at.bus.log}:1") as heard:
            assert times(await take(heard, 1)) == [3]
        async with listening(at, parameter="0:0") as heard:
            assert await take(heard, 1) == [Heard("reset", {}, f"{at.bus.log}:3")]
        async with listening(at, parameter="nonsense") as heard:
            assert await take(heard, 1) == [Heard("", None, f"{at.bus.log}:3")]


async def test_a_quiet_stream_has_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As events: a script does not see comments, and could not tell it from a dead connection."""
    monkeypatch.setattr("blog.runtime.streams.HEARTBEAT", 0.01)
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1))
        place = f"{at.bus.log}:1"
        async with listening(at) as heard:
            assert await take(heard, 3) == [Heard("", None, place), *[Heard("beat", {}, place)] * 2]


async def test_a_stream_ends_where_the_log_is_another_one(tmp_path: Path) -> None:
    """Numbers of two logs in one stream would mean nothing; who comes back is told."""
    async with running_service(service, tmp_path) as at:
        await at.apply(*struck(1, 2, 3))
        async with listening(at) as heard:
            (opening,) = await take(heard, 1)
            await at.bus.become("1" * 36, *struck(1))
            with pytest.raises(EOFError):
                await take(heard, 1)
        async with listening(at, opening.id) as heard:
            assert await take(heard, 1) == [Heard("reset", {}, f"{'1' * 36}:1")]


@given(st.text())
def test_a_position_is_read_or_it_is_none(text: str) -> None:
    """Whatever a client sends."""
    place = StreamPosition.parse(text)
    assert place is None or str(place) == text or place == StreamPosition.parse(str(place))


@given(st.uuids(), st.integers(0, 10**18 - 1))
def test_a_position_is_read_as_it_was_written(log: Any, sequence: int) -> None:
    """The same there and back."""
    assert StreamPosition.parse(str(StreamPosition(str(log), sequence))) == StreamPosition(
        str(log), sequence
    )


class _Stuck:
    """What a client is sent that reads nothing, and then is gone."""

    def __init__(self) -> None:
        self.waiting = 0
        self.gone = asyncio.Event()

    async def write(self, _: bytes) -> None:
        """Wait until there is room, or nobody to have it."""
        self.waiting += 1
        await self.gone.wait()
        raise ConnectionResetError


async def test_a_client_that_does_not_read_and_goes_is_no_failure() -> None:
    """Event and heartbeat both waited for it."""
    stuck = _Stuck()

    async def items() -> AsyncIterator[ServerSent]:
        yield ServerSent("struck", {}, 1)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        draining = asyncio.Event()
        sending = _send(cast("web.StreamResponse", stuck), items(), "log", draining)
        group.create_task(sending)
        while stuck.waiting < 2:
            await asyncio.sleep(0)
        stuck.gone.set()
