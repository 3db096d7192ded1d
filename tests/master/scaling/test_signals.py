"""What the sources say, and that a source which does not answer is "not known", never zero."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestClient, TestServer
from structlog.testing import capture_logs

from blog.core.clock import SystemClock
from blog.core.instance import Instance, State
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
        self.odd_rows: dict[str, list[dict[str, Any]]] = {}
        self.odd_stats: dict[str, Any] = {}
        self.server: BaseTestServer
        self.signals: LoadSignals
        self.clock = FakeClock()

    def app(self) -> web.Application:
        """Make all their routes; each needs the token."""
        app = web.Application()
        answers: dict[str, Callable[[], Any]] = {
            "/v1/services": self._services,
            "/v1/stats": self._stats,
            "/subscriptions": lambda: self.subscriptions,
            "/events/head": lambda: {"log": "l", "sequence": 100},
        }

        async def respond(request: web.Request) -> web.Response:
            assert request.headers["Authorization"] == f"Bearer {TOKEN}"
            if request.path in self.away:
                raise web.HTTPServiceUnavailable
            if request.path == "/metrics":
                return web.Response(text=self.applied)
            return web.json_response(self.odd.get(request.path, answers[request.path]()))

        app.router.add_get("/{path:.*}", respond)
        return app

    def _services(self) -> dict[str, Any]:
        services: dict[str, list[Any]] = {}
        for one in self.instances:
            services.setdefault(one.service, []).append(one.model_dump(mode="json"))
        for service, changes in self.odd_rows.items():
            row = services[service][0] | {"load": {}}
            services[service] += [row | {"id": f"odd-{n}"} | change for n, change in enumerate(changes)]
        return {"services": services}

    def _stats(self) -> dict[str, Any]:
        stats = self.stats.snapshot().model_dump()
        return stats | {"services": stats["services"] | self.odd_stats, "zone": "north"}

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


async def test_a_row_of_a_later_version_makes_no_other_unknown(world: World) -> None:
    """Of the registry, the gateway or the bus: what cannot be read is left out, and said once."""
    world.announce("comments", in_flight=3)
    world.announce("posts", in_flight=5)
    world.stats.services["posts"].in_flight = 30
    world.odd_rows = {
        "comments": [{"state": "warming"}, {"load": "low"}, {"id": 5}],
        "posts": [{"new": 1}],
    }
    world.odd_stats = {"comments": {"in_flight": "many"}, "other": 5}
    world.subscriptions = [
        {"name": "comments", "waiting": 7},
        {"name": 5},
        {"name": "posts", "waiting": 2, "paused": False, "x": 1},
    ]
    with capture_logs() as logged:
        for _ in range(3):
            await world.signals.refresh()
    assert len([one for one in world.signals.instances if one.service == "comments"]) == 2
    assert world.signals.load("comments") == ServiceLoad(3, None)
    assert world.signals.load("posts") == ServiceLoad(30, 2)
    said = [(line["source"], line["field"]) for line in logged if line["event"] == "signal.unreadable"]
    assert sorted(said) == [
        ("/subscriptions", "name"),
        ("/subscriptions", "paused"),
        ("/v1/services", "id"),
        ("/v1/services", "load"),
        ("/v1/services", "state"),
        ("/v1/stats", "services"),
    ]


@pytest.mark.parametrize("odd", [[], 5, None, "text", {"services": []}, {"services": {"a": 5}}])
async def test_a_response_of_another_shape_is_as_good_as_none(world: World, odd: Any) -> None:
    """Of every source; nothing ends."""
    world.announce("comments", in_flight=3)
    for source in ("/v1/services", "/v1/stats", "/subscriptions", "/events/head"):
        world.odd = {source: odd}
        await world.signals.refresh()
        assert await world.signals.lags() in ({}, {world.instances[0].id: 10, world.instances[1].id: 10})
        assert world.signals.waiting("comments") is None
