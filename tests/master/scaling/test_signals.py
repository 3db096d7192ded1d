"""What the sources say, and that a source which does not answer is "not known", never zero."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestClient, TestServer

from blog.core.clock import SystemClock
from blog.core.instance import Instance, State
from blog.core.row_reader import MAX_LINES
from blog.gateway.telemetry.stats import GatewayStats
from blog.master.scaling.autoscale import ServiceLoad
from blog.master.scaling.signals import LoadSignals
from blog.testing.harness import RunningBlog
from tests.fakes import FakeClock
from tests.master.fake_runtime import an_instance

Client: TypeAlias = TestClient[Any, Any]

TOKEN = "token-of-a-gateway"


class World:
    """Registry, gateway, bus and every instance behind one port; each may be away."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.stats = GatewayStats()
        self.subscriptions: list[dict[str, Any]] = []
        self.applied = "# TYPE blog_view_applied gauge\nblog_view_applied 90.0\n"
        self.away: set[str] = set()
        self.odd: dict[str, Any] = {}
        """More rows of a list, by its path."""
        self.server: BaseTestServer
        self.signals: LoadSignals
        self.clock = FakeClock()

    def app(self) -> web.Application:
        """Make all their routes; each needs the token."""
        app = web.Application()
        answers: dict[str, Callable[[], Any]] = {
            "/v1/services": self._services,
            "/v1/stats": self._stats,
            "/subscriptions": lambda: [*self.odd.get("/subscriptions", ()), *self.subscriptions],
            "/events/head": lambda: {"log": "l", "sequence": 100},
        }

        async def respond(request: web.Request) -> web.Response:
            assert request.headers["Authorization"] == f"Bearer {TOKEN}"
            if request.path in self.away:
                raise web.HTTPServiceUnavailable
            if request.path == "/metrics":
                return web.Response(text=self.applied)
            return web.json_response(answers[request.path]())

        app.router.add_get("/{path:.*}", respond)
        return app

    def _services(self) -> dict[str, Any]:
        services: dict[str, list[Any]] = {}
        for one in self.instances:
            services.setdefault(one.service, []).append(one.model_dump(mode="json"))
        return {"services": self.odd.get("/v1/services", {}) | services}

    def _stats(self) -> dict[str, Any]:
        stats = self.stats.snapshot().model_dump()
        stats["services"] |= self.odd.get("/v1/stats", {})
        return stats

    def announce(self, service: str, state: State = State.READY, in_flight: int = 0) -> Instance:
        """Have one more instance, at our port."""
        address = f"127.0.0.1:{self.server.port}"
        self.instances.append(an_instance(service, state=state, in_flight=in_flight, address=address))
        return self.instances[-1]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run one, with a bus."""
    world = World()
    async with TestServer(world.app()) as server, aiohttp.ClientSession() as http:
        world.server = server
        url = f"http://127.0.0.1:{server.port}"
        world.signals = LoadSignals(http, url, TOKEN, world.clock)
        world.announce("bus")
        yield world


async def test_the_load_is_that_of_the_ready_ones(world: World) -> None:
    """What starts or drains is not counted; the gateway knows of requests that wait to be sent."""
    world.announce("comments", in_flight=3)
    world.announce("comments", State.SUSPECT, in_flight=4)
    world.announce("comments", State.STARTING, in_flight=100)
    world.announce("comments", State.DRAINING, in_flight=100)
    await world.signals.refresh()
    assert world.signals.load("comments") == ServiceLoad(in_flight=7)
    world.stats.services["comments"].in_flight = 30
    world.stats.services["comments"].streams = 10
    await world.signals.refresh()
    assert world.signals.load("comments") == ServiceLoad(in_flight=20)


async def test_nobody_ready_is_not_known(world: World) -> None:
    """It is no reason to have fewer."""
    world.announce("comments", State.STARTING)
    await world.signals.refresh()
    assert world.signals.load("comments") == ServiceLoad(None, None)


async def test_events_that_wait(world: World) -> None:
    """Of the subscription of that name; a paused one is no reason to have more."""
    world.announce("comments")
    world.subscriptions = [{"name": "comments", "waiting": 12, "lag": 900, "paused": False}]
    await world.signals.refresh()
    assert world.signals.load("comments").lag == 12
    world.subscriptions[0]["paused"] = True
    await world.signals.refresh()
    assert world.signals.load("comments").lag is None


@pytest.mark.parametrize(
    ("away", "known"),
    [
        ("/v1/services", ServiceLoad(None, None)),
        ("/v1/stats", ServiceLoad(3, 12)),
        ("/subscriptions", ServiceLoad(3, None)),
    ],
)
async def test_a_source_that_is_away(world: World, away: str, known: ServiceLoad) -> None:
    """The others are still heard; what was known before is not made up."""
    world.announce("comments", in_flight=3)
    world.subscriptions = [{"name": "comments", "waiting": 12, "paused": False}]
    await world.signals.refresh()
    assert world.signals.load("comments") == ServiceLoad(3, 12)
    world.away.add(away)
    await world.signals.refresh()
    assert world.signals.load("comments") == known
    world.away.clear()
    await world.signals.refresh()
    assert world.signals.load("comments") == ServiceLoad(3, 12)


async def test_nobody_at_all_answers() -> None:
    """No error, and nothing is known."""
    async with aiohttp.ClientSession() as http:
        signals = LoadSignals(http, "http://127.0.0.1:9", None, FakeClock())
        await signals.refresh()
        assert signals.load("comments") == ServiceLoad(None, None)
        assert await signals.lags() == {}


async def test_how_far_behind_each_view_is(world: World) -> None:
    """The head of the log less what the view has applied; who has no view is not in the list."""
    one = world.announce("comments")
    await world.signals.refresh()
    assert (await world.signals.lags())[one.id] == 10
    world.applied = ""
    assert await world.signals.lags() == {}


async def test_instances_that_come_while_the_views_are_asked_disturb_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control loop refreshes each second, also while somebody looks at `blog ps`."""
    one = world.announce("comments")
    await world.signals.refresh()
    ask = world.signals._applied

    async def refreshed(instance: Instance) -> int | None:
        world.announce("comments")
        await world.signals.refresh()
        return await ask(instance)

    monkeypatch.setattr(world.signals, "_applied", refreshed)
    lags = await world.signals.lags()
    assert lags[one.id] == 10
    assert len(lags) < len(world.signals.instances)


async def test_a_running_blog_says_all_of_it(blog: RunningBlog, gateway_client: Client) -> None:
    """Each source as it really answers: rates, views that are not behind, events that do not wait."""
    async with aiohttp.ClientSession() as http:
        signals = LoadSignals(http, blog.registry_url, blog.token, SystemClock())
        await signals.refresh()
        async with gateway_client.post("/posts", json={"title": "Hello"}) as response:
            assert response.status == 201
        await signals.refresh()
        assert signals.rate("posts").per_second > 0
        assert signals.load("moderation") == ServiceLoad(in_flight=0, lag=0)
        assert signals.load("query") == ServiceLoad(in_flight=0, lag=None)
        async with asyncio.timeout(5):
            while set((await signals.lags()).values()) != {0}:
                await asyncio.sleep(0.01)
        behind = await signals.lags()
        assert {id_.partition("-")[0] for id_ in behind} == {"posts", "comments", "query"}


async def test_since_when_it_is_in_its_state(world: World) -> None:
    """At first since its start, later since the change was seen."""
    one = world.announce("comments")
    await world.signals.refresh()
    assert world.signals.since(one) == one.started_at
    world.clock.advance(60)
    world.instances[-1] = one.model_copy(update={"state": State.DRAINING})
    await world.signals.refresh()
    world.clock.advance(5)
    assert (world.clock.now() - world.signals.since(world.instances[-1])).total_seconds() == 5


ODD_INSTANCE = an_instance("odd").model_dump(mode="json") | {"id": "odd-1"}
COUNTED = GatewayStats().services["odd"].snapshot().model_dump()


ODD_INSTANCES: list[Any] = [
    [None], [1], ["x"], [{}], {"a": 1}, None,
    [ODD_INSTANCE | {"state": "hibernating"}], [ODD_INSTANCE | {"id": "a b"}],
    [ODD_INSTANCE | {"started_at": "yesterday"}], [ODD_INSTANCE | {"address": "nowhere"}],
]  # fmt: skip
ODD_STATS: list[Any] = [
    None, [], {}, COUNTED | {"buckets": [1]}, COUNTED | {"classes": []},
    COUNTED | {"in_flight": 10**400}, COUNTED | {"seconds": float("nan")},
]  # fmt: skip
ODD_SUBSCRIPTIONS: list[Any] = [
    None, 1, {}, {"name": "odd"}, {"name": ["odd"], "paused": False, "waiting": 1},
    {"name": "odd", "paused": False, "waiting": "n/a"},
    {"name": "odd", "paused": False, "waiting": 10**400},
]  # fmt: skip
ODD_ROWS = [
    *(("/v1/services", {"odd": rows}) for rows in ODD_INSTANCES),
    *(("/v1/stats", {"odd": row}) for row in ODD_STATS),
    *(("/subscriptions", [row]) for row in ODD_SUBSCRIPTIONS),
]


@pytest.mark.parametrize(("path", "rows"), ODD_ROWS)
async def test_a_row_that_cannot_be_read_hides_no_other(world: World, path: str, rows: Any) -> None:
    """Whoever wrote it, and whatever it is; it is said which."""
    world.announce("comments", in_flight=3)
    world.subscriptions = [{"name": "comments", "waiting": 12, "paused": False}]
    world.stats.services["comments"].in_flight = 5
    world.odd[path] = rows
    for _ in range(2):
        await world.signals.refresh()
        assert world.signals.load("comments") == ServiceLoad(in_flight=5, lag=12)
    assert {one.service for one in world.signals.instances} == {"bus", "comments"}
    if isinstance(rows, list) or isinstance(rows.get("odd"), list) or path == "/v1/stats":
        assert sum(map(len, world.signals.passed_over.values())) == 1


@pytest.mark.parametrize("odd", [
    {"load": {"in_flight": 2**60}}, {"load": {"loop_lag_ms": 1e999}}, {"load": "low"}, {"zone": "north"},
    {"metadata": {"pid": 1}}, {"version": "x" * 65}, {"routes": [{"method": "any"}]},
])  # fmt: skip
async def test_a_row_of_a_later_version_counts_as_far_as_it_can_be_read(
    world: World, odd: dict[str, Any]
) -> None:
    """An instance is there, whatever else is said of it."""
    world.announce("comments", in_flight=3)
    ready = {"state": "ready", "service": "comments", "load": {}}
    world.odd["/v1/services"] = {"odd": [ODD_INSTANCE | ready | odd]}
    await world.signals.refresh()
    assert len([one for one in world.signals.instances if one.service == "comments"]) == 2
    assert world.signals.load("comments").in_flight == 3


async def test_it_is_said_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Signals are read every second; a row that is new is said."""
    world.odd["/v1/services"] = {"odd": [ODD_INSTANCE | {"state": "x"}]}
    for _ in range(3):
        await world.signals.refresh()
    assert capsys.readouterr().out.count("row.passed_over") == 1
    world.odd["/v1/services"] = {"odd": [ODD_INSTANCE | {"id": "odd-2", "state": "x"}]}
    await world.signals.refresh()
    assert capsys.readouterr().out.count("row.passed_over") == 1


async def test_so_much_is_said_of_rows_that_cannot_be_read(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may bring very many of them; each that is new costs one look-up."""
    rows = [ODD_INSTANCE | {"id": f"odd-{number}", "state": "x"} for number in range(3 * MAX_LINES)]
    world.odd["/v1/services"] = {"odd": rows}
    for _ in range(2):
        await world.signals.refresh()
    assert capsys.readouterr().out.count("row.passed_over") == MAX_LINES + 1
    assert world.signals.passed_over["instances"][-1] == f"and {2 * MAX_LINES} more"


@pytest.mark.parametrize("applied", ["inf", "-inf", "nan", "1e400", "-5", "x", "²", "9" * 400])
async def test_how_far_a_view_is_may_be_anything(world: World, applied: str) -> None:
    """It is not known then; of the others it is."""
    world.applied = f"blog_view_applied {applied}\n"
    await world.signals.refresh()
    assert await world.signals.lags() == {}


async def test_no_redirect_is_followed(world: World) -> None:
    """Whoever is asked has the token of this blog."""
    asked: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    async with TestServer(app) as server:
        other = an_instance("odd", address=f"127.0.0.1:{server.port}")
        world.instances.append(other)
        await world.signals.refresh()
        await world.signals.lags()
    assert asked == ["/metrics"]
