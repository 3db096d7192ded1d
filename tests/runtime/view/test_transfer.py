"""A new instance takes the view's file from a living replica; one that is broken or lies never harms."""

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from structlog.typing import EventDict

from blog.core.web import INSTANCE_HEADER, bearer
from blog.lifecycle.member import Member
from blog.runtime.view import snapshot, transfer
from blog.runtime.view.snapshot import SnapshotCopy
from blog.runtime.view.transfer import PATH
from tests.bus.conftest import TOKEN
from tests.runtime.conftest import FAR, Gardens, Respond
from tests.runtime.garden import rows_of

COUNT = 3 * FAR


def facts(logged: list[EventDict], name: str) -> list[EventDict]:
    """Pick what was said of one kind."""
    return [item for item in logged if item["event"] == name]


async def ask(rig: Gardens, of: Member, **query: str) -> aiohttp.ClientResponse:
    """Ask for a snapshot; the answer's body is not read yet."""
    headers = {**bearer(TOKEN), INSTANCE_HEADER: of.instance.id}
    return await rig.http.get(f"http://{of.instance.address}{PATH}", headers=headers, params=query)


async def good(rig: Gardens) -> tuple[dict[str, str], bytes]:
    """Take a good snapshot from an instance, and let that one go."""
    member = await rig.start()
    async with await ask(rig, member) as response:
        taken = {
            name: value for name, value in response.headers.items() if name.startswith(("Blog", "Con"))
        }
        body = await response.read()
    member.lifecycle.stop()
    await rig.ends.pop().aclose()
    await rig.registry_client.discovery.wait_until(lambda table: not table.serving("garden"))
    for left in rig.view_file(0).parent.iterdir():
        left.unlink()
    return {name: value for name, value in taken.items() if name != "Connection"}, body


def responding(headers: dict[str, str], body: bytes, **changes: str) -> Respond:
    """Answer with this file, whatever is asked for."""

    async def respond(_: web.Request) -> web.StreamResponse:
        told = {name: value for name, value in headers.items() if name != "Content-Length"}
        return web.Response(body=body, headers=told | changes)

    return respond


async def refused(rig: Gardens, respond: Respond) -> str:
    """Start an instance beside a replica that answers so; it has to be sound. Return what was wrong."""
    await rig.fake_replica(respond)
    with capture_logs() as logged:
        await rig.start()
    assert not facts(logged, "snapshot.fetched")
    assert rows_of(rig.view_file(0))["seeds"] == [(f"s{n:06}",) for n in range(1, COUNT + 1)]
    assert not rig.view_file(0).with_suffix(".incoming.db").exists()
    [fact] = facts(logged, "snapshot.rejected")
    return str(fact["reason"])


async def test_who_is_far_behind_takes_one_and_follows_from_there(gardens: Gardens) -> None:
    """The rows are those of a replay, in every table."""
    await gardens.sow(1, COUNT)
    first = await gardens.start()
    with capture_logs() as logged:
        await gardens.start()
    [taken] = facts(logged, "snapshot.fetched")
    assert (taken["replica"], taken["applied"]) == (first.instance.id, COUNT)
    assert taken["bytes"] > 0
    assert facts(logged, "view.building")[0]["applied"] == COUNT
    assert rows_of(gardens.view_file(1)) == rows_of(gardens.view_file(0))
    assert {path.name for path in gardens.view_file(1).parent.glob("1.*.db")} == set()
    assert {path.name for path in gardens.view_file(0).parent.glob("0.*.db")} == set()


async def test_who_is_near_reads_the_log(gardens: Gardens) -> None:
    """That is quicker, and asks nobody."""
    await gardens.sow(1, FAR)
    await gardens.start()
    with capture_logs() as logged:
        await gardens.start()
    assert not [item for item in logged if item["event"].startswith("snapshot.")]
    assert rows_of(gardens.view_file(1)) == rows_of(gardens.view_file(0))


async def test_without_a_replica_the_log_is_read(gardens: Gardens) -> None:
    """There is nobody to ask, and nothing to say about it."""
    await gardens.sow(1, COUNT)
    with capture_logs() as logged:
        await gardens.start()
    assert not [item for item in logged if item["event"].startswith("snapshot.")]
    assert len(rows_of(gardens.view_file(0))["seeds"]) == COUNT


async def test_it_needs_the_token_and_is_no_public_route(gardens: Gardens) -> None:
    """The gateway reaches declared routes only."""
    member = await gardens.start()
    async with gardens.http.get(f"http://{member.instance.address}{PATH}") as response:
        assert response.status == 401
    assert PATH not in {route.pattern for route in member.instance.routes}


@pytest.mark.parametrize("wrong", ["schema", "log"])
async def test_a_replica_refuses_who_could_not_use_the_copy(gardens: Gardens, wrong: str) -> None:
    """Before it makes one."""
    member = await gardens.start()
    async with await ask(gardens, member, **{wrong: "another"}) as response:
        assert response.status == 409
        assert wrong in (await response.json())["detail"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"Blog-Schema": "another"}, "it is of another schema"),
        ({"Blog-Log": "another"}, "it is of another log"),
        ({"Blog-Sequence": str(COUNT - 1)}, "its rows have another position than its headers say"),
        ({"Blog-Sequence": "0"}, "it is not ahead"),
        ({"Blog-Sequence": "many"}, "its headers are incomplete"),
        ({"Blog-Sequence": "9" * 5000}, "its headers are incomplete"),
        ({"Content-Digest": "sha-512=:AAAA:"}, "its headers are incomplete"),
        ({"Content-Digest": "sha-512=:AAAA:, sha-256=:AAAA:"}, "its body does not match its digest"),
        ({"Content-Digest": "sha-256=:AAAA:"}, "its body does not match its digest"),
    ],
)
async def test_a_head_that_is_wrong_is_refused(
    gardens: Gardens, changes: dict[str, str], why: str
) -> None:
    """Another schema, another log, another place, another digest: the log is read instead."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    assert await refused(gardens, responding(headers, body, **changes)) == why


async def test_a_corrupted_byte_is_refused(gardens: Gardens) -> None:
    """The digest tells."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    place = len(body) // 2
    broken = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    assert "does not match its digest" in await refused(gardens, responding(headers, broken))


async def test_a_damaged_file_with_a_fitting_digest_is_refused(gardens: Gardens) -> None:
    """SQLite looks at it, too: a replica may be broken itself."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    broken = body[:-4096] + b"\xff" * 4096  # the last page is one of the seeds
    digest = transfer._digest(hashlib.sha256(broken).digest())
    respond = responding(headers, broken, **{"Content-Digest": digest})
    why = await refused(gardens, respond)
    assert why.startswith("it is damaged")


@pytest.mark.parametrize("sql", ["CREATE TABLE more (x TEXT)", "DROP INDEX by_name"])
async def test_a_file_of_other_tables_is_refused(gardens: Gardens, tmp_path: Path, sql: str) -> None:
    """Whatever its hash claims."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    (tmp_path / "lie.db").write_bytes(body)
    with closing(sqlite3.connect(tmp_path / "lie.db", isolation_level=None)) as db:
        db.execute(sql)
    lie = (tmp_path / "lie.db").read_bytes()
    digest = transfer._digest(hashlib.sha256(lie).digest())
    why = await refused(gardens, responding(headers, lie, **{"Content-Digest": digest}))
    assert why == "its tables are not those of the view"


async def test_a_file_that_is_ahead_of_the_log_is_dropped(gardens: Gardens, tmp_path: Path) -> None:
    """It has events that nobody wrote: the view is built from the start."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    (tmp_path / "lie.db").write_bytes(body)
    with closing(sqlite3.connect(tmp_path / "lie.db", isolation_level=None)) as db:
        db.execute("UPDATE view_position SET applied = ?", (COUNT + 1,))
        db.execute("INSERT INTO seeds VALUES ('made up')")
    lie = (tmp_path / "lie.db").read_bytes()
    changes = {
        "Content-Digest": transfer._digest(hashlib.sha256(lie).digest()),
        "Blog-Sequence": str(COUNT + 1),
    }
    await gardens.fake_replica(responding(headers, lie, **changes))
    await gardens.start()
    assert rows_of(gardens.view_file(0))["seeds"] == [(f"s{n:06}",) for n in range(1, COUNT + 1)]


async def test_a_replica_that_dies_in_the_middle_is_passed_over(gardens: Gardens) -> None:
    """So is one that sends less than it said."""
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response

    assert await refused(gardens, respond)


@pytest.mark.parametrize("share", [None, 0.0, 0.5])
async def test_a_replica_that_hangs_is_passed_over(
    gardens: Gardens, monkeypatch: pytest.MonkeyPatch, share: float | None
) -> None:
    """After a while: before its head, behind it, or in the middle."""
    monkeypatch.setattr(transfer, "IDLE_TIMEOUT", 0.2)
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)
    done = asyncio.Event()

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        if share is not None:
            await response.prepare(request)
            await response.write(body[: int(len(body) * share)])
        await done.wait()
        return response

    assert await refused(gardens, respond)
    done.set()


async def test_a_replica_that_trickles_is_passed_over(
    gardens: Gardens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the log is the better way, then."""
    monkeypatch.setattr(transfer, "IDLE_TIMEOUT", 0.3)
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        with suppress(ConnectionError):
            for place in range(len(body)):
                await response.write(body[place : place + 1])
                await asyncio.sleep(0.01)
        return response

    assert await refused(gardens, respond)


async def test_a_slow_replica_is_waited_for(gardens: Gardens, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is not slower than reading the log would be."""
    monkeypatch.setattr(transfer, "IDLE_TIMEOUT", 0.4)
    monkeypatch.setattr(transfer, "_MIN_RATE", 100)
    await gardens.sow(1, COUNT)
    headers, body = await good(gardens)

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for place in range(0, len(body), len(body) // 6):
            await response.write(body[place : place + len(body) // 6])
            await asyncio.sleep(0.1)
        return response

    await gardens.fake_replica(respond)
    with capture_logs() as logged:
        await gardens.start()
    assert len(facts(logged, "snapshot.fetched")) == 1
    assert len(rows_of(gardens.view_file(0))["seeds"]) == COUNT


async def test_the_next_replica_is_asked_when_one_is_no_good(gardens: Gardens) -> None:
    """One good one is enough, whoever is asked first."""
    await gardens.sow(1, COUNT)
    await gardens.start()

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    for _ in range(3):
        await gardens.fake_replica(respond)
    with capture_logs() as logged:
        await gardens.start()
    assert len(facts(logged, "snapshot.fetched")) == 1
    assert rows_of(gardens.view_file(1)) == rows_of(gardens.view_file(0))


class Gate:
    """Makes a copy wait until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        real = snapshot.copy

        def copy(*args: Any) -> SnapshotCopy:
            self.reached.set()
            assert self.opened.wait(10)
            return real(*args)

        monkeypatch.setattr("blog.runtime.view.store.copy", copy)


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """Give a gate before every copy; it is open in the end."""
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


async def test_one_at_a_time_is_given(gardens: Gardens, gate: Gate) -> None:
    """Another one is told to come again, and does; the replica answers queries meanwhile."""
    await gardens.sow(1, COUNT)
    member = await gardens.start()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(ask(gardens, member))
        await asyncio.to_thread(gate.reached.wait, 10)
        async with await ask(gardens, member) as second:
            assert (second.status, second.headers["Retry-After"]) == (503, "1")
        async with gardens.http.get(f"http://{member.instance.address}/seeds") as response:
            assert len(await response.json()) == COUNT
        with capture_logs() as logged:
            third = group.create_task(gardens.start())
            while not [item for item in facts(logged, "request.served") if item["status"] == 503]:
                await asyncio.sleep(0.01)
            gate.opened.set()
            async with await first as whole:
                assert len(await whole.read()) == whole.content_length
            await third
    assert len(facts(logged, "snapshot.fetched")) == 1


async def test_a_client_that_gives_up_leaves_nothing_behind(gardens: Gardens, gate: Gate) -> None:
    """The next one is served, and no copy is left on the disk."""
    await gardens.sow(1, COUNT)
    member = await gardens.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(gardens, member)
    gate.opened.set()
    async with asyncio.timeout(10):
        while True:
            async with await ask(gardens, member) as response:
                if response.status == 200:
                    assert len(await response.read()) == response.content_length
                    break
            await asyncio.sleep(0.01)
    assert not gardens.view_file(0).with_suffix(".outgoing.db").exists()


async def test_a_client_that_does_not_read_is_cut_off(
    gardens: Gardens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not keep the next one waiting for ever."""
    await gardens.sow(1, COUNT)
    member = await gardens.start()

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "IDLE_TIMEOUT", 0.1)
        patched.setattr(web.StreamResponse, "write", never)
        with pytest.raises(aiohttp.ClientError):
            async with await ask(gardens, member) as response:
                await response.read()
    async with await ask(gardens, member) as response:
        assert len(await response.read()) == response.content_length


async def test_draining_ends_what_is_being_given(gardens: Gardens, gate: Gate) -> None:
    """The instance leaves within its deadline, and the newcomer asks elsewhere."""
    await gardens.sow(1, COUNT)
    member = await gardens.start()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask(gardens, member))
        await asyncio.to_thread(gate.reached.wait, 10)
        member.lifecycle.stop()
        async with asyncio.timeout(5):
            response = await asking
        assert response.status == 503
        gate.opened.set()
        response.close()
