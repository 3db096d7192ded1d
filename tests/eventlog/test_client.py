"""The client of the log: what does not come from a sound bus is an error, not an event."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.errors import BlogError, Conflict, Unavailable
from blog.core.events import Envelope, Event
from blog.core.instance import Instance
from blog.core.net.http_client import client_session
from blog.core.web import misdirected, problem
from blog.eventlog import client
from blog.eventlog.client import BusDisconnected, EventBatch, EventLogClient
from blog.eventlog.wire import LOG_HEADER, Appended, Head, encode_appended, encode_head, encode_page

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Noted(Event, key="key_"):
    """Anything."""

    key_: str


class _OneBus:
    """A discovery that knows one bus."""

    def __init__(self, bus: Instance) -> None:
        self._bus = bus

    def next(self, _: str) -> Instance:
        """Return it."""
        return self._bus


@asynccontextmanager
async def talking_to(handler: Handler) -> AsyncIterator[EventLogClient]:
    """Run a bus that answers everything by `handler`, and a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app, host="127.0.0.1") as server, client_session() as http:
        address = f"{server.host}:{server.port}"
        bus = Instance.announce("bus", address=address, started_at=datetime.now(UTC))
        discovery = _OneBus(bus)
        async with EventLogClient(discovery, http, SystemClock(), "t") as made:  # type: ignore[arg-type]
            yield made


def sending(body: bytes) -> Handler:
    """Make a handler that sends one stream."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={LOG_HEADER: "log-1"})

    return handler


async def followed(log: EventLogClient, batches: list[EventBatch]) -> None:
    """Follow into `batches` until the stream breaks."""
    async for batch in log.follow(0):
        batches.append(batch)  # noqa: PERF401 - what came before the error counts


async def test_a_follower_gets_the_pages_until_the_stream_ends() -> None:
    """Each with the log that it is of."""
    batches: list[EventBatch] = []
    async with talking_to(sending(encode_page(["{}"], 1) + encode_page([], 2) + b"{}")) as log:
        with pytest.raises(BusDisconnected, match="ended the stream"):
            await followed(log, batches)
    assert [(batch.log, batch.through) for batch in batches] == [("log-1", 1), ("log-1", 2)]


async def test_what_is_not_a_stream_of_events_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is not valid, and a page that is too large."""
    monkeypatch.setattr(client, "_MAX_PAGE", 1000)
    for body in (b'{"through": soon}\n', b"x" * 2000):
        async with talking_to(sending(body)) as log:
            with pytest.raises(BusDisconnected, match="not a stream of events"):
                await anext(log.follow(0))


@pytest.mark.parametrize("line", [b"{", b"7", b'{"id":"e"}', b'{"sequence":1,"id":"e","type":"t"}'])
def test_a_line_that_is_not_an_event_breaks_the_stream(line: bytes) -> None:
    """A follower comes back; nothing is made up."""
    batch = EventBatch("log-1", b"\n" + line, 1)
    with pytest.raises(BusDisconnected, match="not a valid event"):
        _ = batch.events


@pytest.mark.parametrize("error", [Unavailable("not now"), misdirected("another")])
async def test_a_failure_that_may_pass_is_retried(error: BlogError) -> None:
    """503, and 421 of an instance that has the address of the one before."""
    failures = iter([error, error])

    async def handler(_: web.Request) -> web.Response:
        for failure in failures:
            return problem(failure)
        return web.Response(text=encode_head(Head("log-1", 7)))

    async with talking_to(handler) as log:
        assert await log.head() == Head("log-1", 7)


async def test_a_refusal_is_raised_at_once() -> None:
    """With what the bus says."""
    calls: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(request.path)
        return problem(Conflict("It moved on."))

    async with talking_to(handler) as log:
        with pytest.raises(Conflict, match="moved on"):
            await log.append([], expect=1)
    assert calls == ["/events"]


REFUSALS = [401, 403, 400, 409, 413, 418, 426, 507, 204, 301]


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_bus_that_refuses_to_be_read_is_as_good_as_none(status: int) -> None:
    """It may have another token for a while: nothing ends, its reason is logged once."""
    refuses = True

    async def handler(_: web.Request) -> web.Response:
        if refuses:
            return web.Response(status=status, text='{"detail": "Not\\u001b you."}')
        return web.Response(text=encode_head(Head("log-1", 7)))

    async with talking_to(handler) as log:
        with capture_logs() as lines:
            with pytest.raises(Unavailable, match=f"responded with {status}"):
                await log.head(timeout=0.5)
            with pytest.raises(Unavailable, match=f"responded with {status}"):
                await log.get("e1", timeout=0.1)
            with pytest.raises(BusDisconnected, match=f"responded with {status}"):
                await anext(log.follow(0))
        refuses = False
        assert await log.head() == Head("log-1", 7)
    said = [line for line in lines if line["event"] == "bus.refused"]
    assert len(said) == (0 if status == 507 else 1)
    assert all("BLOG_TOKEN" in line["next"] for line in said)


@pytest.mark.parametrize("status", [401, 403, 418, 301])
async def test_an_append_that_is_refused_for_who_we_are_is_unavailable(status: int) -> None:
    """It is not about the events: the client of ours may try again."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with talking_to(handler) as log:
        with pytest.raises(Unavailable, match=f"responded with {status}"):
            await log.append([], expect=1, timeout=0.1)


async def test_time_runs_out() -> None:
    """The error says what the bus said last."""

    async def handler(_: web.Request) -> web.Response:
        return problem(Unavailable("not now"))

    async with talking_to(handler) as log:
        with pytest.raises(Unavailable, match=r"within 0.1 s: it responded with 503"):
            await log.head(timeout=0.1)


@pytest.mark.parametrize(
    "body", [b"", b"nope", b"[]", b'{"results": "none"}', b'{"log": 5, "results": []}']
)
async def test_a_response_that_cannot_be_read_is_tried_again(body: bytes) -> None:
    """Of a bus of another version, or of no bus: it is unavailable, and nothing of ours breaks."""
    async with talking_to(sending(body)) as log:
        envelope = Envelope.of(Noted(key_="k"), id="e1", service="s", time=datetime.now(UTC))
        for attempt in (
            log.head(timeout=0.1),
            log.get("e1", timeout=0.1),
            log.append([envelope], timeout=0.1),
            log.append([envelope], expect=1, timeout=0.1),
        ):
            with pytest.raises(Unavailable, match=r"cannot be read|about other events"):
                await attempt


async def test_results_of_other_events_are_not_taken_for_ours() -> None:
    """One too few would be those of somebody whose events travelled along."""
    results = iter(
        [[], [Appended("other", 1)], [Appended("e2", 2), Appended("e1", 1)], [Appended("e1", 7)]]
    )

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=encode_appended(next(results)))

    async with talking_to(handler) as log:
        envelope = Envelope.of(Noted(key_="k"), id="e1", service="s", time=datetime.now(UTC))
        assert await log.append([envelope]) == [Appended("e1", 7)]


async def test_a_stream_that_does_not_say_of_which_log_it_is_breaks() -> None:
    """Nothing of it can be used."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=encode_page([], 1))

    async with talking_to(handler) as log:
        with pytest.raises(BusDisconnected, match="without Blog-Log"):
            await anext(log.follow(0))
