"""The dial-back: one per instance, few per joiner, and a stranger learns nothing from it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from blog.core.instance import State
from blog.core.web import INSTANCE_HEADER
from blog.registry.server.dial_back import FAILURE_TIME
from blog.registry.server.dial_limits import STRANGER
from blog.registry.server.transitions import ProbeResult
from tests.registry.server.strangers import HERE, ask, protected, put, raw_session
from tests.registry.server.strangers import STRANGER as PEER
from tests.registry.server.test_probe import responding
from tests.registry.server.test_rest import AUTH
from tests.registry.server.test_service import World, a_world

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def port_of(serve: Serve) -> AsyncIterator[tuple[str, list[str]]]:
    """Open a port; give its address and a line per connection."""
    connections: list[str] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append("")
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
        server.close()


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing until the other end has gone."""
    await reader.read()


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection."""
    writer.transport.abort()


async def speak_ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be something else than HTTP."""
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await reader.read()


@asynccontextmanager
async def every_kind_of_port() -> AsyncIterator[list[tuple[int, tuple[str, str]]]]:
    """Give, with numbers, an id and an address of every kind at which no instance is ready."""
    async with (
        port_of(never) as (silent, _),
        port_of(reset) as (broken, _),
        port_of(speak_ssh) as (other, _),
        responding() as (http, _),
        responding(Blog_Instance="another") as (somebody, _),
        responding(503, Blog_Instance="unready") as (unready, _),
        responding(302, Location="http://127.0.0.1:1/") as (redirect, _),
    ):
        async with port_of(never) as (closed, _):
            pass
        kinds = {
            "silent": silent,
            "broken": broken,
            "other": other,
            "http": http,
            "somebody": somebody,
            "unready": unready,
            "redirect": redirect,
            "closed": closed,
            "elsewhere": "192.0.2.1:80",
            "no-name": "no-such-name.invalid:80",
        }
        yield list(enumerate(kinds.items(), 1))


async def timed(work: Any) -> tuple[Any, float]:
    """Return what `work` returns, and how many seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await work, loop.time() - began


async def test_a_stranger_cannot_tell_what_is_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """One text, one status and one duration for everything, by PUT; the log has the reason."""
    async with protected(monkeypatch) as world, every_kind_of_port() as addresses:
        with capture_logs() as logs:
            puts = (put(world, "posts", id_, address, f"10.0.1.{n}") for n, (id_, address) in addresses)
            found = await asyncio.gather(*map(timed, puts))
        answers = {
            (status, body["why"].partition(";")[0], body["detail"].partition(": ")[2][:13])
            for (status, body), _ in found
        }
        assert answers == {(422, "not reachable", "not reachable")}
        assert all(seconds >= FAILURE_TIME for _, seconds in found)
        assert not world.registry.membership.instances
        reasons = [line["reason"] for line in logs if line["event"] == "instance.dial_back_failed"]
        assert len(reasons) == len(found)
        assert any("503" in reason for reason in reasons)
        assert any("192.0.2.1 is not in a network" in reason for reason in reasons)


async def test_nor_by_a_session_or_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row starts until it goes, and goes with its session, whatever is at the address."""
    async with protected(monkeypatch) as world, every_kind_of_port() as addresses:
        await asyncio.gather(*(_refused_by_session(world, n, *one) for n, one in addresses))
        departures = world.registry.membership.departures
        assert set(departures) == {"refused"}


async def _refused_by_session(world: World, number: int, id_: str, address: str) -> None:
    async with raw_session(world, f"10.0.1.{number}") as session:
        await session.join(id_, address=address)
        await session.send("ready")
        message, seconds = await timed(session.receive("refused"))
        assert message["why"].startswith("not reachable; ")
        assert seconds >= FAILURE_TIME
        row = world.registry.membership.get(id_)
        assert row is not None
        assert row.state is State.STARTING
        world.registry.report_unhealthy(id_, "a report")
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while id_ in world.registry.membership:
            await asyncio.sleep(0)


async def test_who_has_the_token_learns_the_reason() -> None:
    """It may read everything else as well."""
    async with a_world() as world, every_kind_of_port() as addresses:
        by_kind = dict(one for _, one in addresses)
        for kind, reason in (("closed", "onnect"), ("somebody", "another responds there")):
            url = f"{world.url}v1/services/posts/instances/x"
            async with world.http.put(url, json={"address": by_kind[kind]}, headers=AUTH) as response:
                assert reason in (await response.json())["why"]


async def test_without_a_token_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on this machine either: the reason is in the log of the registry, which not everybody reads."""
    async with protected(monkeypatch) as world, every_kind_of_port() as addresses:
        by_kind = dict(one for _, one in addresses)
        puts = (put(world, "posts", "x", by_kind[kind], HERE) for kind in ("closed", "somebody"))
        found = [await timed(one) for one in puts]
    assert {body["why"].partition(";")[0] for (_, body), _ in found} == {"not reachable"}
    assert all(seconds >= FAILURE_TIME for _, seconds in found)


async def test_a_stranger_that_responds_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once; and the probes that follow are dialled by the same rule."""
    async with protected(monkeypatch) as world:
        stub = await world.stub("x")
        (status, row), seconds = await timed(
            put(world, "posts", "x", f"localhost:{stub.server.port}", PEER)
        )
        assert (status, row["state"]) == (200, "ready")
        assert seconds < FAILURE_TIME
        monkeypatch.setattr("blog.registry.server.dial_target.may_dial", lambda *_: False)
        outcome = await world.registry.dial_backs.probe(world.registry.membership.instances[0], 1.0)
        assert "is not in a network" in outcome.why


async def test_a_name_is_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it meant when the instance responded is probed later, wherever it leads by then."""
    async with protected(monkeypatch) as world:
        stub = await world.stub("x")
        assert (await put(world, "posts", "x", f"localhost:{stub.server.port}", PEER))[0] == 200

        def elsewhere(*_: object, **__: object) -> None:
            raise AssertionError

        monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
        [row] = world.registry.membership.instances
        assert (await world.registry.dial_backs.probe(row, 5.0)).is_ready


async def test_a_strangers_killed_instance_is_noticed_as_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dying process accepts and resets; asked again its port is closed. That is refused, not silent."""
    async with protected(monkeypatch) as world:
        stub = await world.stub("x")
        port = stub.server.port
        assert (await put(world, "posts", "x", f"127.0.0.1:{port}", PEER))[0] == 200
        [row] = world.registry.membership.instances
        await stub.server.close()
        tries: list[str] = []

        async def dying(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tries.append("")
            if len(tries) > 2:  # aiohttp asks once more by itself
                dead.close()
            writer.transport.abort()

        dead = await asyncio.start_server(dying, "127.0.0.1", port)
        async with dead:
            outcome = await world.registry.dial_backs.probe(row, 30.0)
        assert outcome.result is ProbeResult.REFUSED


async def test_a_storm_of_puts_and_readies_is_one_dial_back() -> None:
    """However many ask while it is under way."""
    async with (
        a_world() as world,
        port_of(never) as (address, connections),
        raw_session(world, **AUTH) as session,
    ):
        await session.join("p1", address=address)
        for _ in range(100):
            await session.send("ready")
        await session.receive("refused")
        assert len(connections) == 1
    async with a_world() as world, port_of(never) as (address, connections):
        path = f"{world.url}v1/services/posts/instances/p2"
        body = {"address": address}
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(_put_with_token(world, path, body))
        assert len(connections) == 1


async def _put_with_token(world: World, path: str, body: dict[str, str]) -> None:
    async with world.http.put(path, json=body, headers=AUTH) as response:
        assert response.status == 422


async def test_a_port_that_breaks_connections_is_asked_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four times for who is trusted, once for a stranger; aiohttp asks once more each time."""
    for peer, tries in ((HERE, 4), (PEER, 1)):
        async with protected(monkeypatch) as world, port_of(reset) as (address, connections):
            assert (await put(world, "posts", "x", address, peer))[0] == 422
            assert tries <= len(connections) <= 2 * tries


async def test_a_flood_of_fresh_ids_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are dialled at once, some wait, the rest is told to come later and leaves no row."""
    async with protected(monkeypatch) as world, port_of(never) as (address, connections):
        most = STRANGER.at_once + STRANGER.waiting
        tasks = [
            asyncio.create_task(put(world, "posts", f"x{n}", address, PEER)) for n in range(most + 20)
        ]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result()[0] for task in done} == {429}
        assert len(connections) <= STRANGER.at_once
        assert len(world.registry.membership.instances) <= most + 20 - len(done)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_redirect_is_not_followed() -> None:
    """Nor does the dial-back bring the token anywhere."""
    async with a_world() as world, responding() as (target, requests):
        location = f"http://{target}/readyz"
        async with responding(302, Blog_Instance="x", Location=location) as (address, first):
            path = f"{world.url}v1/services/posts/instances/x"
            async with world.http.put(path, json={"address": address}, headers=AUTH) as response:
                assert response.status == 422
        assert not requests
        assert "Authorization" not in first[0].headers


async def test_a_row_that_is_anothers_by_then_is_not_admitted() -> None:
    """The id changed hands while the first one's address was dialled."""
    may_respond = asyncio.Event()

    async def readyz(_: web.Request) -> web.Response:
        await may_respond.wait()
        return web.Response(headers={INSTANCE_HEADER: "x"})

    async with a_world() as world:
        app = web.Application()
        app.router.add_get("/readyz", readyz)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with raw_session(world, **AUTH) as first, raw_session(world, **AUTH) as second:
                await first.join("x", address=address, key="first")
                await first.send("ready")
                await first.receive("joined")
                await first.send("leave")
                async with asyncio.timeout(5):
                    while "x" in world.registry.membership:
                        await asyncio.sleep(0)
                await second.join("x", address=address, key="second")
                await second.receive("joined")
                may_respond.set()
                async with asyncio.timeout(5):
                    while world.registry.dial_backs.is_under_way("x"):
                        await asyncio.sleep(0)
                row = world.registry.membership.get("x")
                assert row is not None
                assert row.state is State.STARTING
                await second.send("ready")
                await second.receive("ready")
        finally:
            await runner.cleanup()


async def test_reports_are_one_probe_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of them is neither a storm of probes nor of log lines."""
    async with a_world() as world, responding(Blog_Instance="x") as (address, requests):
        path = f"{world.url}v1/services/posts/instances/x"
        async with world.http.put(path, json={"address": address}, headers=AUTH) as response:
            assert response.status == 200
        del requests[:]
        monkeypatch.setattr("blog.registry.server.probe.REPORTS_INTERVAL", 3600)
        with capture_logs() as logs:
            async with raw_session(world, **AUTH) as session:
                await session.send("join")
                for _ in range(1000):
                    await session.send("report", id="x", why="y" * 1000)
                await session.send("join")
                for _ in range(2):
                    await session.receive("snapshot")
        async with asyncio.timeout(5):
            while not requests:
                await asyncio.sleep(0.01)
        assert len(requests) == 1
        [line] = [line for line in logs if line["event"] == "instance.reported_unhealthy"]
        assert len(line["reason"]) == 300
        await ask(world, "GET", "v1/services")
