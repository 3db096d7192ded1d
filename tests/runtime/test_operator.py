"""The operator API over real sockets: who may come, and that an order is carried out once, or never."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from blog.core.background import background
from blog.core.clock import SystemClock
from blog.core.contract import Meta, Service
from blog.core.decision import Append, Unchanged
from blog.core.errors import NotFound
from blog.core.events import Event
from blog.core.operator import PATH, Reason
from blog.core.web import bearer
from blog.lifecycle.lifecycle import Lifecycle
from blog.runtime.commands import CommandRunner, EventAppender
from blog.runtime.run import run
from tests.bus.conftest import TOKEN
from tests.fakes import running_service
from tests.runtime.conftest import Gardens
from tests.runtime.garden import Picked, Sown, Tended

WEEDS = PATH + "/weed"
plot = Service("plot", view=Tended)


class Weeded(Event, key="seed"):
    """An operator wanted this gone, and said why."""

    seed: str
    why: str | None = None


@plot.operator("weed")
def weed(seed: str, view: Tended, meta: Meta, reason: Reason = None) -> Append | Unchanged:
    """Weed what was sown."""
    del meta
    known = view.names()
    if seed == "never":
        raise NotFound(f"There is no seed {seed}.")
    if seed not in known:
        return Unchanged(sequence=view.applied)
    events = [Picked(seed=seed), Weeded(seed=seed, why=reason)]
    return Append(events, expect=view.applied, types=(Picked,), before={"seed": seed, "of": len(known)})


@plot.operator("pick")
def pick(seed: str, view: Tended) -> Event | list[Event]:
    """Pick it; once there are three, weed it as well."""
    if len(view.names()) < 3:
        return Picked(seed=seed)
    return [Picked(seed=seed), Weeded(seed=seed)]


class Plot(NamedTuple):
    """An instance of `plot` that is ready, and how to send it orders."""

    gardens: Gardens
    url: str

    async def send(
        self, path: str = WEEDS, *, headers: dict[str, str] | None = None, **order: Any
    ) -> tuple[int, Any]:
        """Send an order with the token, unless other headers are given."""
        given = bearer(TOKEN) if headers is None else headers
        async with self.gardens.http.post(self.url + path, json=order, headers=given) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        """Read."""
        async with self.gardens.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def written(self) -> list[Any]:
        """List the types and data of what came behind what was sown."""
        events = await self.gardens.events()
        return [(event.type, event.data) for event in events if event.type != Sown.type]


@pytest.fixture
async def start(gardens: Gardens) -> AsyncIterator[Callable[..., Any]]:
    """Start instances of `plot` with two seeds sown."""
    await gardens.sow(1, 2)
    async with AsyncExitStack() as stack:

        async def started() -> Plot:
            life = Lifecycle(SystemClock())
            await stack.enter_async_context(background(run(plot, gardens.settings(), life)))
            discovery = gardens.registry_client.discovery
            await discovery.wait_until(lambda table: bool(table.serving(plot.name)))
            member = await life.bound()
            return Plot(gardens, f"http://{member.instance.address}")

        yield started


async def test_a_command_responds_when_the_log_has_it(
    start: Callable[..., Any],
) -> None:
    """What was appended and where; the same order again finds everything as it should be."""
    plot_ = await start()
    status, report = await plot_.send(id="s000001", reason="weed")
    assert (status, report["changed"], report["sequence"]) == (200, True, 4)
    assert report["events"] == ["blog.Picked", "blog.Weeded"]
    assert await plot_.written() == [
        ("blog.Picked", {"seed": "s000001"}),
        ("blog.Weeded", {"seed": "s000001", "why": "weed"}),
    ]
    status, report = await plot_.send(id="s000001", reason="weed")
    assert (status, report["changed"]) == (200, False)
    assert len(await plot_.written()) == 2


async def test_commands_that_come_twice_are_run_once(start: Callable[..., Any]) -> None:
    """With one key, also at the same time: a command line that got no answer sends it again."""
    plot_ = await start()
    headers = bearer(TOKEN) | {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(plot_.send(headers=headers, id="s000001") for _ in range(5)))
    assert [status for status, _ in answers] == [200] * 5
    assert {report["sequence"] for _, report in answers} == {4}
    assert len(await plot_.written()) == 2


async def test_a_dry_run_says_what_would_be_done_and_binds_the_command_to_it(
    start: Callable[..., Any],
) -> None:
    """Nothing is appended; and when it has changed by then, nothing is done."""
    plot_ = await start()
    status, report = await plot_.send(id="s000001", dry_run=True)
    assert (status, report["changed"], report["sequence"]) == (200, True, None)
    assert report["before"] == {"seed": "s000001", "of": 2}
    assert await plot_.written() == []
    await plot_.gardens.sow(3, 3)
    while (await plot_.send(id="s000001", dry_run=True))[1]["before"]["of"] != 3:
        pass  # the view gets it when it gets it
    status, problem = await plot_.send(id="s000001", seen=report["seen"])
    assert (status, "look again" in problem["detail"]) == (409, True)
    assert await plot_.written() == []
    _, report = await plot_.send(id="s000001", dry_run=True)
    assert (await plot_.send(id="s000001", seen=report["seen"]))[0] == 200
    while (report := (await plot_.send(id="s000001", dry_run=True))[1])["changed"]:
        pass  # this too
    assert report["seen"] is None


async def test_a_command_is_bound_to_the_events_that_were_shown(start: Callable[..., Any]) -> None:
    """Also where a command returns only those."""
    plot_ = await start()
    path = PATH + "/pick"
    _, shown = await plot_.send(path, id="s000001", dry_run=True)
    assert shown["events"] == ["blog.Picked"]
    await plot_.gardens.sow(3, 3)
    while len((now := (await plot_.send(path, id="s000001", dry_run=True))[1])["events"]) < 2:
        pass  # the view gets it when it gets it
    status, problem = await plot_.send(path, id="s000001", seen=shown["seen"])
    assert (status, "look again" in problem["detail"]) == (409, True)
    assert await plot_.written() == []
    assert (await plot_.send(path, id="s000001", seen=now["seen"]))[0] == 200


@pytest.mark.parametrize(
    ("path", "order", "status"),
    [
        (WEEDS, {"id": "never"}, 404),
        (PATH + "/water", {"id": "s000001"}, 404),
        (WEEDS, {}, 422),
        (WEEDS, {"id": "x" * 257}, 422),
        (WEEDS, {"id": "s000001", "reason": "x" * 501}, 422),
    ],
)
async def test_what_cannot_be_run_is_a_problem(
    start: Callable[..., Any], path: str, order: dict[str, Any], status: int
) -> None:
    """And nothing is done."""
    plot_ = await start()
    assert (await plot_.send(path, **order))[0] == status
    assert await plot_.written() == []


async def test_the_token_is_needed_and_a_web_page_is_refused_with_it(start: Callable[..., Any]) -> None:
    """For the list of commands too, however the path is written."""
    plot_ = await start()
    for headers in ({}, bearer("wrong")):
        assert (await plot_.send(headers=headers, id="s000001"))[0] == 401
        assert (await plot_.send("/v1/%6fperator/weed", headers=headers, id="s000001"))[0] == 401
        assert (await plot_.get(PATH, headers))[0] == 401
    for name in ("Origin", "Sec-Fetch-Site", "X-Forwarded-For"):
        headers = bearer(TOKEN) | {name: "same-origin"}
        assert (await plot_.send(headers=headers, id="s000001"))[0] == 403
        assert (await plot_.get(PATH, headers))[0] == 403
    assert await plot_.get(PATH, bearer(TOKEN)) == (
        200,
        {"weed": "Weed what was sown.", "pick": "Pick it; once there are three, weed it as well."},
    )
    assert await plot_.written() == []


async def test_without_a_token_a_web_page_is_refused_all_the_same(tmp_path: Path) -> None:
    """A blog without one asks nobody for it; its readers' browsers decide nothing."""
    async with running_service(plot, tmp_path) as one:
        one.context.commands = CommandRunner(plot.name, cast("EventAppender", one.bus), SystemClock())
        await one.apply(Sown(seed="a"))
        order = {"id": "a", "dry_run": True}
        for headers, status in (({}, 200), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "none"}, 403)):
            async with one.client.post(WEEDS, json=order, headers=headers) as response:
                assert response.status == status
            async with one.client.get(PATH, headers=headers) as response:
                assert response.status == status
        one.context.is_open = False
        async with one.client.post(WEEDS, json=order) as response:
            assert response.status == 503


async def test_no_public_description_knows_of_it(start: Callable[..., Any]) -> None:
    """Neither the OpenAPI document nor the routes that are announced."""
    plot_ = await start()
    assert (await plot_.get("/openapi.json", {}))[1]["paths"] == {}
    [instance] = plot_.gardens.registry_client.discovery.serving(plot.name)
    assert instance.routes == ()
