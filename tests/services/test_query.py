"""The read side: what posts and comments become, and pages that cost the same."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blog.core.errors import Invalid, NotFound
from blog.core.ids import derived_id
from blog.services.query.service import comment, post, posts, service
from blog.services.query.view import SHOWN_COMMENTS, QueryView
from blog.testing.given import given
from tests.fakes import running_service
from tests.services.happenings import (
    COMMENT,
    LATER,
    MINE,
    OTHER,
    POST,
    YOURS,
    meta,
    resaid,
    rewritten,
    said,
    settled,
    unsaid,
    unwritten,
    written,
)


def test_an_edited_post_shows_its_new_words_and_version() -> None:
    """Its place among the others stays; `sequence` is that of its author's last write."""
    view = given(QueryView, written(), written(OTHER), rewritten("New", "words"), said())
    shown = posts(view, meta()).content
    assert list(shown) == [OTHER, POST]
    assert (shown[POST].title, shown[POST].body) == ("New", "words")
    assert (shown[POST].edited_at, shown[POST].sequence) == (LATER, 3)
    assert (shown[OTHER].edited_at, shown[OTHER].sequence) == (None, 2)
    assert shown[POST].author == "Ann"


def test_a_deleted_post_is_gone_with_its_comments() -> None:
    """From lists, by its id, and for whoever knows the id of a comment."""
    view = given(QueryView, written(), said(), unwritten(), said(derived_id("late")))
    assert posts(view, meta()).content == {}
    for ask in (lambda: post(POST, view, meta()), lambda: comment(POST, COMMENT, view, meta())):
        with pytest.raises(NotFound):
            ask()
    assert view.db.execute("SELECT count(*) FROM comments").fetchone() == (0,)


def test_an_edited_comment_waits_for_moderation_again() -> None:
    """Its new words are for its author only, until they are approved."""
    edited = [written(), said(), settled("approved"), resaid("new")]
    for reader, content in ((YOURS, None), (None, None), (MINE, "new")):
        shown = comment(POST, COMMENT, given(QueryView, *edited), meta(reader))
        assert (shown.status, shown.content) == ("pending", content)
        assert (shown.edited_at, shown.sequence) == (LATER, 4)
    shown = comment(POST, COMMENT, given(QueryView, *edited, settled("approved", "new")), meta())
    assert (shown.status, shown.content, shown.sequence) == ("approved", "new", 4)


def test_a_verdict_on_words_that_were_replaced_is_none() -> None:
    """Neither do the old words come back, nor do the new ones pass by what was said of the old."""
    view = given(QueryView, written(), said(), resaid("new"), settled("approved"))
    shown = comment(POST, COMMENT, view, meta(MINE))
    assert (shown.status, shown.content) == ("pending", "new")


def test_a_deleted_comment_does_not_come_back() -> None:
    """A verdict, or an edit, that comes late has nothing to change."""
    view = given(QueryView, written(), said(), unsaid(), settled("approved"), resaid("x"))
    assert post(POST, view, meta(MINE)).comments == []


def test_only_the_author_is_told_what_is_theirs() -> None:
    """`mine` is there for one's own only; who wrote something is never said."""
    view = given(QueryView, written(), said())
    for reader, mine in ((MINE, True), (YOURS, False), (None, False)):
        for shown in (post(POST, view, meta(reader)), comment(POST, COMMENT, view, meta(reader))):
            dumped = shown.model_dump(mode="json")
            assert dumped.get("mine") is (True if mine else None)
            assert MINE not in shown.model_dump_json()
    nobody = written().model_copy(update={"author_hash": None})
    assert not post(POST, given(QueryView, nobody), meta(None)).mine


def test_a_reader_goes_on_from_a_post_that_was_deleted() -> None:
    """It keeps its place; what never was a post, or is a comment, is none."""
    ids = [derived_id("p", n) for n in range(4)]
    view = given(QueryView, *map(written, ids), said(post_id=ids[0]), unwritten(ids[2]))
    page = posts(view, meta(), limit=1, before=ids[2])
    assert list(page.content) == [ids[1]]
    assert page.next == {"limit": "1", "before": ids[1]}
    for unknown in (OTHER, COMMENT):
        with pytest.raises(Invalid):
            posts(view, meta(), before=unknown)


def test_a_thread_continues_after_a_comment() -> None:
    """Also after one that was deleted; holes are not counted as comments; `behind` is its old name."""
    ids = [derived_id("c", n) for n in range(SHOWN_COMMENTS + 3)]
    view = given(QueryView, written(), *map(said, ids), unsaid(ids[0]), unsaid(ids[50]))
    first = [item.id for item in post(POST, view, meta()).comments]
    left = [id_ for id_ in ids if id_ not in (ids[0], ids[50])]
    assert first == left[:SHOWN_COMMENTS]
    rest = post(POST, view, meta(), after_comment=first[-1]).comments
    assert [item.id for item in rest] == left[SHOWN_COMMENTS:]
    assert post(POST, view, meta(), after_comment=ids[50]).comments[0].id == ids[51]
    for options in ({"behind": ids[50]}, {"after_comment": ids[50], "behind": OTHER}):
        assert post(POST, view, meta(), **options).comments[0].id == ids[51]
    with pytest.raises(Invalid):
        post(POST, view, meta(), after_comment=OTHER)


def test_a_comment_belongs_to_its_post() -> None:
    """It is not found below another one."""
    view = given(QueryView, written(), written(OTHER), said())
    assert comment(POST, COMMENT, view, meta()).id == COMMENT
    with pytest.raises(NotFound):
        comment(OTHER, COMMENT, view, meta())


# What it costs, in steps of SQLite's virtual machine: the same on every machine.


@contextmanager
def counted(db: sqlite3.Connection) -> Iterator[list[int]]:
    """Count the steps of what is asked within."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    db.set_progress_handler(step, 1)
    yield steps
    db.set_progress_handler(None, 1)


def cost(view: QueryView, ask: Callable[[], object]) -> int:
    """Return the steps of `ask`."""
    with counted(view.db) as steps:
        ask()
    return steps[0]


def test_the_last_page_costs_what_the_first_costs() -> None:
    """And ten times as many posts cost nothing; the numbers of deleted ones are skipped for free."""
    costs = []
    for many in (100, 1000):
        ids = [derived_id("p", n) for n in range(many)]
        view = given(QueryView, *map(written, ids), *map(unwritten, ids[20:80]))
        for before in (None, ids[many // 2 + 40], ids[11], ids[70]):
            shown = posts(view, meta(), limit=10, before=before).content
            assert len(shown) == 10
            costs.append(cost(view, lambda: posts(view, meta(), limit=10, before=before)))
    assert max(costs) <= min(costs) * 1.1


def test_comments_behind_those_shown_cost_nothing() -> None:
    """Nor does a hole in front of them, however large, nor what is said elsewhere."""
    costs = []
    for many, deleted in ((110, 0), (2000, 0), (2000, 1500)):
        ids = [derived_id("c", n) for n in range(many)]
        elsewhere = [said(derived_id("o", n), post_id=OTHER) for n in range(many)]
        thread = [*map(said, ids), *map(unsaid, ids[:deleted])]
        view = given(QueryView, written(), written(OTHER), *elsewhere, *thread)
        shown = posts(view, meta()).content[POST].comments
        assert [item.id for item in shown] == ids[deleted : deleted + SHOWN_COMMENTS]
        costs.append(
            (cost(view, lambda: posts(view, meta())), cost(view, lambda: post(POST, view, meta())))
        )
    for of_one in zip(*costs, strict=True):
        assert max(of_one) <= min(of_one) * 1.1


async def test_what_is_asked_over_http(tmp_path: Path) -> None:
    """Entity tags, limits, and the feed with the address of the door that was used."""
    async with running_service(service, tmp_path) as at:
        await at.apply(written(title="Hello world", body="x"), written(OTHER, "Else"))
        for path in ("/posts", f"/posts/{POST}", "/feed.atom", "/posts?search=hel&limit=1"):
            response = await at.client.get(path)
            assert response.status == 200, path
            known = {"If-None-Match": response.headers["ETag"]}
            for method in ("GET", "HEAD"):
                again = await at.client.request(method, path, headers=known)
                assert (again.status, await again.read()) == (304, b""), path
            head = await at.client.head(path)
            assert (head.status, head.headers["ETag"]) == (200, response.headers["ETag"])
        assert list(await (await at.client.get("/posts?search=hello+wor")).json()) == [POST]
        assert await (await at.client.get("/posts?search=")).json() == {}
        for query in ("search=" + "x" * 201, "search=%00", "search=a%0Ab", f"before={COMMENT}"):
            assert (await at.client.get(f"/posts?{query}")).status == 422, query
        forwarded = {"X-Forwarded-Host": "blog.example", "X-Forwarded-Proto": "https"}
        shown = await at.client.get("/feed.atom", headers=forwarded)
        assert shown.content_type == "application/atom+xml"
        assert b"https://blog.example/read/" in await shown.read()
        known = {"If-None-Match": (await at.client.get(f"/posts/{POST}")).headers["ETag"]}
        await at.apply(rewritten("Other words"))
        assert (await at.client.get(f"/posts/{POST}", headers=known)).status == 200


async def test_live_tells_of_everything(tmp_path: Path) -> None:
    """Edits and deletions too; not what only its author may see; what is gone by now is skipped."""
    async with running_service(service, tmp_path) as at:
        await at.apply(written())
        headers = {"Last-Event-ID": f"{at.bus.log}:0"}
        last = await at.apply(
            said(),
            settled("approved"),
            resaid("better"),
            rewritten("New"),
            said(OTHER, "gone soon"),
            unsaid(OTHER),
            unsaid(),
            unwritten(),
        )
        await at.apply(written(OTHER, "Last"))
        told = []
        async with at.client.get("/live", headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"event: "):
                    told.append(line.decode().strip().removeprefix("event: "))
                if b"Last" in line:
                    break
        assert told == ["comment-deleted", "comment-deleted", "post-deleted", "post"]
        headers = {"Last-Event-ID": f"{at.bus.log}:{last}"}
        async with at.client.get("/live", headers=headers) as response:
            await at.apply(said(post_id=OTHER, content="secret"))
            seen = b""
            while b'"comment"' not in seen and b"event: comment" not in seen:
                seen += await response.content.readline()
            seen += await response.content.readline()
        assert b"secret" not in seen
        assert MINE.encode() not in seen
        assert b'"content":null' in seen
