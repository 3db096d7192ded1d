"""Queries at a real door: entity tags, reading what was written, and hot answers that are never wrong."""

import asyncio
import dataclasses
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blog.core.contract import Document, Meta, Page, Service
from blog.core.errors import NotFound
from blog.core.events import Event
from blog.core.view import View, applies
from blog.runtime.openapi import describe
from tests.fakes import RunningService, running_service


class Sown(Event, key="bed"):
    """A seed was sown."""

    bed: str
    seed: str


class Weather(Event, key="day"):
    """Something that no bed cares for."""

    day: str


class Beds(View):
    """Seeds by bed."""

    schema = "CREATE TABLE seeds (bed TEXT NOT NULL, name TEXT NOT NULL) STRICT;"
    reads = 0
    has_read = threading.Event()
    may_go = threading.Event()
    may_go.set()

    @applies(Sown)
    def sow(self, db: Any, event: Sown) -> None:
        """Keep the seed."""
        db.execute("INSERT INTO seeds VALUES (?, ?)", (event.bed, event.seed))

    def of(self, bed: str) -> list[str]:
        """List the seeds of a bed."""
        type(self).reads += 1
        rows = self.db.execute("SELECT name FROM seeds WHERE bed = ?", (bed,)).fetchall()
        type(self).has_read.set()
        assert type(self).may_go.wait(5)
        return [name for (name,) in rows]


class Label(Document, content_type="text/x-label"):
    """What is stuck into the earth."""


service = Service("garden", view=Beds)


@service.query("GET", "/beds/{bed}", cache=True)
def seeds(bed: str, view: Beds, meta: Meta, limit: int = 10) -> Page:
    """Show a bed, and who looks."""
    found = view.of(bed)
    if not found:
        raise NotFound("Nothing was sown.")
    more = {"limit": str(limit + 1)} if len(found) > limit else None
    return Page({"seeds": found[:limit], "reader": meta.author_hash}, next=more)


@service.query("GET", "/beds/{bed}/label", cache=True)
def label(bed: str, view: Beds, meta: Meta) -> Label:
    """Show a label with an address."""
    return Label(f"{meta.base_url}: {', '.join(view.of(bed))}".encode())


def cold() -> Service:
    """Give the same service with nothing hot."""
    endpoints = [dataclasses.replace(endpoint, is_cached=False) for endpoint in service.endpoints]
    return dataclasses.replace(service, endpoints=endpoints)


async def fetch(at: RunningService, path: str, **options: Any) -> tuple[int, bytes, dict[str, str]]:
    """Get status, body and headers that matter."""
    response = await at.client.request(options.pop("method", "GET"), path, **options)
    shown = ("ETag", "Link", "Cache-Control", "Vary", "Content-Type", "Blog-Stale", "Content-Length")
    headers = {name: response.headers[name] for name in shown if name in response.headers}
    return response.status, await response.read(), headers


async def test_a_cached_response_reads_nothing(tmp_path: Path) -> None:
    """The second one is the same bytes and headers; not before an event that concerns it is there."""
    async with running_service(service, tmp_path) as at:
        await at.apply(Sown(bed="a", seed="pea"), Sown(bed="a", seed="oat"))
        first = await fetch(at, "/beds/a?limit=1")
        assert first[2]["Link"] == '</beds/a?limit=2>; rel="next"'
        reads = Beds.reads
        assert await fetch(at, "/beds/a?limit=1") == first
        await at.apply(Weather(day="monday"))
        assert await fetch(at, "/beds/a?limit=1") == first
        assert Beds.reads == reads
        await at.apply(Sown(bed="b", seed="rye"))
        assert await fetch(at, "/beds/a?limit=1") == first
        assert Beds.reads == reads + 1
        for _ in range(2):
            await fetch(at, "/beds/a?" + "x" * 1000)
        assert Beds.reads == reads + 3


async def test_an_author_gets_a_response_of_their_own(tmp_path: Path) -> None:
    """And nobody else gets it, in whichever order they ask."""
    async with running_service(service, tmp_path) as at:
        await at.apply(Sown(bed="a", seed="pea"))
        mine = {"Blog-Author-Token": "secret"}
        for _ in range(2):
            own = await at.client.get("/beds/a", headers=mine)
            assert (await own.json())["reader"] is not None
            assert (await (await at.client.get("/beds/a")).json())["reader"] is None


async def test_who_has_it_already_is_told_so(tmp_path: Path) -> None:
    """304 without a body, hot and cold, for GET and HEAD; a change makes it 200 again."""
    for which in (service, cold()):
        async with running_service(which, tmp_path / str(id(which))) as at:
            await at.apply(Sown(bed="a", seed="pea"))
            status, body, headers = await fetch(at, "/beds/a")
            assert (status, headers["Cache-Control"], headers["Vary"]) == (
                200,
                "no-cache",
                "Blog-Author-Token",
            )
            head = await fetch(at, "/beds/a", method="HEAD")
            assert head == (200, b"", headers)
            assert headers["Content-Length"] == str(len(body))
            known = {"If-None-Match": f'"other", W/{headers["ETag"]}'}
            for method in ("GET", "HEAD"):
                status, body, shown = await fetch(at, "/beds/a", method=method, headers=known)
                assert (status, body, shown["ETag"]) == (304, b"", headers["ETag"])
                assert "Content-Type" not in shown
            await at.apply(Sown(bed="a", seed="oat"))
            assert (await fetch(at, "/beds/a", headers=known))[0] == 200


async def test_a_document_has_its_own_type_and_knows_where_it_is(tmp_path: Path) -> None:
    """Each address has its own answer, as the gateway names it; OpenAPI says the type."""
    async with running_service(service, tmp_path) as at:
        await at.apply(Sown(bed="a", seed="pea"))
        for _ in range(2):
            for host, scheme in (("one.example", "http"), ("two.example", "https")):
                forwarded = {"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme}
                status, body, headers = await fetch(at, "/beds/a/label", headers=forwarded)
                assert (status, body) == (200, f"{scheme}://{host}: pea".encode())
                assert headers["Content-Type"] == "text/x-label"
    described = describe(service)["paths"]["/beds/{bed}/label"]["get"]["responses"]["200"]
    assert described["content"] == {"text/x-label": {"schema": {"type": "string"}}}


async def test_reading_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hot answer is good for who has seen no more; else it is waited for, and what is late says so."""
    monkeypatch.setattr("blog.runtime.queries._AFTER_TIMEOUT", 0.05)
    async with running_service(service, tmp_path) as at:
        sequence = await at.apply(Sown(bed="a", seed="pea"))
        plain = await fetch(at, "/beds/a")
        assert await fetch(at, "/beds/a", headers={"Blog-After": str(sequence)}) == plain
        late = await fetch(at, "/beds/a", headers={"Blog-After": str(sequence + 1)})
        assert late[2].pop("Blog-Stale") == "true"
        assert late == plain
        assert "Blog-Stale" not in (await fetch(at, "/beds/a"))[2]
        monkeypatch.setattr("blog.runtime.queries._AFTER_TIMEOUT", 5.0)
        asking = asyncio.create_task(fetch(at, f"/beds/a?after={sequence + 1}"))
        await at.apply(Sown(bed="a", seed="oat"))
        assert b"oat" in (await asking)[1]
        for wrong in ("x", "-1", "٣", "9" * 19, "9" * 5000):
            assert (await fetch(at, "/beds/a", headers={"Blog-After": wrong}))[0] == 422


async def test_what_is_read_while_it_changes_is_not_kept_as_new(tmp_path: Path) -> None:
    """The rows are of before, the answer is made after: who asks next reads again."""
    async with running_service(service, tmp_path) as at:
        await at.apply(Sown(bed="a", seed="pea"))
        Beds.has_read.clear()
        Beds.may_go.clear()
        asking = asyncio.create_task(fetch(at, "/beds/a"))
        try:
            assert await asyncio.to_thread(Beds.has_read.wait, 5)
            await at.apply(Sown(bed="a", seed="oat"))
        finally:
            Beds.may_go.set()
        assert b"oat" not in (await asking)[1]
        assert b"oat" in (await fetch(at, "/beds/a"))[1]


async def test_what_is_missing_is_not_kept(tmp_path: Path) -> None:
    """It may come."""
    async with running_service(service, tmp_path) as at:
        assert (await fetch(at, "/beds/a"))[0] == 404
        await at.apply(Sown(bed="a", seed="pea"))
        assert (await fetch(at, "/beds/a"))[0] == 200


async def test_another_log_is_another_response(tmp_path: Path) -> None:
    """A view that started over shows nothing of what it was, though it is as far as before."""
    async with running_service(service, tmp_path) as at:
        await at.apply(Sown(bed="a", seed="pea"))
        assert b"pea" in (await fetch(at, "/beds/a"))[1]
        view = at.context.view
        assert view
        async with asyncio.timeout(5):
            await at.bus.become("2" * 36)
            await view.wait_for(0, None, at.bus.log)
            while (await fetch(at, "/beds/a"))[0] != 404:
                await asyncio.sleep(0.01)
            await at.bus.become("1" * 36, Sown(bed="a", seed="oat"))
            await view.wait_for(1, None, at.bus.log)
            while b"oat" not in (await fetch(at, "/beds/a"))[1]:
                await asyncio.sleep(0.01)


PATHS = ("/beds/a", "/beds/b", "/beds/a?limit=1", "/beds/a/label", "/beds/c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sow"), st.sampled_from("ab"), st.sampled_from("xyz")),
        st.tuples(st.just("other"), st.just(""), st.just("")),
        st.tuples(st.just("read"), st.sampled_from(PATHS), st.sampled_from(["", "me", "you"])),
        st.tuples(st.just("again"), st.sampled_from(PATHS), st.sampled_from(["GET", "HEAD"])),
        st.tuples(st.just("both"), st.sampled_from("ab"), st.sampled_from(PATHS)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_cached_or_not_the_responses_are_the_same(steps: list[tuple[str, str, str]]) -> None:
    """Any interleaving of applying and reading; what is read while it is applied is old or new."""

    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                running_service(service, Path(folder) / "hot") as cache,
                running_service(cold(), Path(folder) / "cold") as plain,
            ):
                same = {"X-Forwarded-Host": "blog.example"}
                tags = {}
                for verb, one, two in steps:
                    match verb:
                        case "sow":
                            for at in (cache, plain):
                                await at.apply(Sown(bed=one, seed=two))
                        case "other":
                            for at in (cache, plain):
                                await at.apply(Weather(day="monday"))
                        case "read":
                            headers = same | ({"Blog-Author-Token": two} if two else {})
                            expected = await fetch(plain, one, headers=headers)
                            assert await fetch(cache, one, headers=headers) == expected
                            tags[one] = expected[2].get("ETag", "")
                        case "again":
                            headers = same | {"If-None-Match": tags.get(one, "")}
                            expected = await fetch(plain, one, headers=headers, method=two)
                            assert await fetch(cache, one, headers=headers, method=two) == expected
                        case "both":
                            before = await fetch(plain, two, headers=same)
                            reading = asyncio.create_task(fetch(cache, two, headers=same))
                            await cache.apply(Sown(bed=one, seed="while"))
                            await plain.apply(Sown(bed=one, seed="while"))
                            after = await fetch(plain, two, headers=same)
                            assert await reading in (before, after)
                            assert await fetch(cache, two, headers=same) == after

    asyncio.run(play())
