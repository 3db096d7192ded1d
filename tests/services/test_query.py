"""The read side: what posts and comments become, in pages that cost the same, and how they are found."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from blog.core.contract import Meta
from blog.core.errors import Invalid, NotFound, SettingsError
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.runtime.openapi import describe
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.query.feed import NAMESPACE
from blog.services.query.search import as_match, must_have_fts5
from blog.services.query.service import FEED_LENGTH, comment, feed, post, posts, service
from blog.services.query.view import SHOWN_COMMENTS, QueryView
from blog.testing.given import given
from tests.fakes import hosted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
POST, OTHER, COMMENT = derived_id("post"), derived_id("other"), derived_id("comment")
MINE, YOURS = "a" * 64, "b" * 64


def meta(author: str | None = None) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=NOW, author_hash=author, base_url="https://blog.example")


def written(id_: str = POST, title: str = "Hello", body: str = "", author: str = "Ann") -> PostCreated:
    """Give a post."""
    return PostCreated(id=id_, title=title, body=body, author=author, created_at=NOW, author_hash=MINE)


def rewritten(title: str, body: str = "", id_: str = POST) -> PostEdited:
    """Give other words to it."""
    return PostEdited(id=id_, title=title, body=body, edited_at=LATER)


def unwritten(id_: str = POST) -> PostDeleted:
    """Take it back."""
    return PostDeleted(id=id_, deleted_at=LATER)


def said(id_: str = COMMENT, content: str = "hi", post_id: str = POST) -> CommentCreated:
    """Give a pending comment."""
    return CommentCreated(id=id_, post_id=post_id, content=content, created_at=NOW, author_hash=MINE)


def resaid(content: str, id_: str = COMMENT) -> CommentEdited:
    """Give other words to it."""
    return CommentEdited(id=id_, post_id=POST, content=content, edited_at=LATER)


def settled(status: str, content: str = "hi", id_: str = COMMENT) -> CommentUpdated:
    """Give moderation's verdict on these words."""
    return CommentUpdated.model_validate(
        {"id": id_, "post_id": POST, "content": content, "status": status}
    )


def unsaid(id_: str = COMMENT) -> CommentDeleted:
    """Take it back."""
    return CommentDeleted(id=id_, post_id=POST, deleted_at=LATER)


def found(view: QueryView, search: str) -> list[str]:
    """List the titles of the posts that are found."""
    return [item.title for item in posts(view, meta(), search=search).content.values()]


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


def test_a_thread_goes_on_behind_a_comment() -> None:
    """Also behind one that was deleted; holes are not counted as comments."""
    ids = [derived_id("c", n) for n in range(SHOWN_COMMENTS + 3)]
    view = given(QueryView, written(), *map(said, ids), unsaid(ids[0]), unsaid(ids[50]))
    first = [item.id for item in post(POST, view, meta()).comments]
    left = [id_ for id_ in ids if id_ not in (ids[0], ids[50])]
    assert first == left[:SHOWN_COMMENTS]
    rest = post(POST, view, meta(), behind=first[-1]).comments
    assert [item.id for item in rest] == left[SHOWN_COMMENTS:]
    assert post(POST, view, meta(), behind=ids[50]).comments[0].id == ids[51]
    with pytest.raises(Invalid):
        post(POST, view, meta(), behind=OTHER)


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


# Search.


def test_posts_are_found_by_all_of_the_words() -> None:
    """In title or body, whatever the case and the accents, the last one unfinished; newest first."""
    view = given(
        QueryView,
        written(derived_id(1), "Crème brûlée", "with sugar"),
        written(derived_id(2), "Sugar", "and spice"),
        written(derived_id(3), "Something else"),
    )
    assert found(view, "sugar") == ["Sugar", "Crème brûlée"]
    assert found(view, "CREME sug") == ["Crème brûlée"]
    assert found(view, "sug spice") == []
    assert found(view, "spice sug") == ["Sugar"]
    assert found(view, "nothing") == []


def test_edits_and_deletions_change_what_is_found() -> None:
    """Old words find nothing any more."""
    events: list[Event] = [written(title="old", body="older"), rewritten("new", "newer")]
    view = given(QueryView, *events)
    assert [found(view, word) for word in ("old", "older", "new", "newer")] == [[], [], ["new"], ["new"]]
    view = given(QueryView, *events, unwritten())
    assert found(view, "new") == []
    view.db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("status", ["pending", "rejected", "approved"])
def test_words_of_comments_find_nothing(status: str) -> None:
    """Whatever became of them: so nothing that may not be shown can be found out by searching."""
    events: list[Event] = [written(), said(content="secret")]
    if status != "pending":
        events.append(settled(status, "secret"))
    view = given(QueryView, *events)
    for reader in (None, MINE):
        assert posts(view, meta(reader), search="secret").content == {}


@pytest.mark.parametrize(
    "hopeless", ["", " ", "!!", '"', '""', "*", "- -", "()", "^", "\u3000", "😀", "title:", "'; DROP--"]
)
def test_a_hopeless_search_finds_nothing(hopeless: str) -> None:
    """And is no error."""
    view = given(QueryView, written(title="title drop and near or not"))
    if hopeless not in ("title:", "'; DROP--"):
        assert posts(view, meta(), search=hopeless).content == {}
    else:
        assert len(posts(view, meta(), search=hopeless).content) == 1


@pytest.mark.parametrize(
    "typed", ["title OR x", "NOT title", "title NOT x", "NEAR(title x)", "body:title", "ti* x", "{a} x"]
)
def test_what_is_typed_is_never_syntax(typed: str) -> None:
    """Each word has to be there as a word."""
    view = given(QueryView, written(title="title"))
    assert found(view, typed) == []


@for_all(st.text(max_size=200))
def test_any_text_can_be_searched_for(typed: str) -> None:
    """What has these words is found by them, in any order of any signs; nothing raises."""
    view = given(QueryView, written(title="x", body=typed))
    assert [item.id for item in view.posts(limit=5, search=typed)[0]] in ([], [POST])
    words = [word for word in typed.split() if word.isascii() and word.isalnum()]
    if words:
        assert found(view, " ".join(reversed(words))) == ["x"]
    assert as_match(typed).count('"') % 2 == 0


def test_what_is_found_has_pages() -> None:
    """The next page looks for the same words, below the last post of this one."""
    ids = [derived_id("p", n) for n in range(5)]
    view = given(QueryView, *(written(id_, "even" if n % 2 == 0 else "odd") for n, id_ in enumerate(ids)))
    first = posts(view, meta(), limit=2, search="even")
    assert list(first.content) == [ids[4], ids[2]]
    assert first.next == {"limit": "2", "before": ids[2], "search": "even"}
    last = posts(view, meta(), limit=2, search="even", before=ids[2])
    assert (list(last.content), last.next) == ([ids[0]], None)


def test_without_fts5_it_says_what_is_missing() -> None:
    """One line, before anything is built."""

    class Without:
        """A connection whose SQLite has no modules."""

        def execute(self, _: str) -> Any:
            """Find nothing."""
            return sqlite3.connect(":memory:").execute("SELECT 1 WHERE 0")

    with pytest.raises(SettingsError, match="has no FTS5, which search needs"):
        must_have_fts5(cast("sqlite3.Connection", Without()))


# The feed.


def parts(document: bytes) -> tuple[ET.Element, Callable[[ET.Element, str], str]]:
    """Parse a feed; return it, and how to get the text of an element."""
    root = ET.fromstring(document)  # noqa: S314 - it is ours
    return root, lambda element, name: element.findtext(f"{{{NAMESPACE}}}{name}") or ""


def test_the_feed_has_the_newest_posts() -> None:
    """With what RFC 4287 §4.1 wants of a feed and of each entry."""
    many = [written(derived_id("p", n), f"Post {n}", "a & <b>") for n in range(FEED_LENGTH + 2)]
    newest = many[-1].id
    view = given(QueryView, *many, rewritten("Edited", "x", newest))
    root, text = parts(feed(view, meta()).content)
    assert root.tag == f"{{{NAMESPACE}}}feed"
    assert text(root, "id") == "https://blog.example/feed.atom"
    assert (text(root, "title"), text(root, "updated")) == ("blog", LATER.isoformat())
    links = {link.get("rel"): link.get("href") for link in root.iter(f"{{{NAMESPACE}}}link")}
    assert links["self"] == "https://blog.example/feed.atom"
    entries = root.findall(f"{{{NAMESPACE}}}entry")
    assert [text(entry, "title") for entry in entries][:2] == ["Edited", f"Post {FEED_LENGTH}"]
    assert len(entries) == FEED_LENGTH
    first, second = entries[:2]
    assert text(first, "id") == f"urn:uuid:{newest}"
    assert (text(first, "published"), text(first, "updated")) == (NOW.isoformat(), LATER.isoformat())
    assert text(second, "updated") == NOW.isoformat()
    assert first.findtext(f"{{{NAMESPACE}}}author/{{{NAMESPACE}}}name") == "Ann"
    link = first.find(f"{{{NAMESPACE}}}link")
    assert link is not None
    assert (link.get("rel"), link.get("href")) == ("alternate", f"https://blog.example/read/{newest}")
    assert text(second, "content") == "a & <b>"


def test_an_empty_feed_is_a_feed() -> None:
    """It has to have been updated some time, and always the same."""
    root, text = parts(feed(given(QueryView), meta()).content)
    assert text(root, "updated") == "1970-01-01T00:00:00+00:00"
    assert feed(given(QueryView), meta()) == feed(given(QueryView), meta())


@for_all(st.text(), st.text(), st.text(), st.text())
def test_nothing_that_people_write_breaks_the_feed(title: str, body: str, author: str, base: str) -> None:
    """Neither markup nor what XML cannot hold (XML 1.0 §2.2)."""
    odd = "\x00\x1b\ufffe\uffff]]>" + body
    view = given(QueryView, written(title=title, body=odd, author=author))
    asked = Meta(request_id="r", now=NOW, base_url=base)
    root, text = parts(feed(view, asked).content)
    (entry,) = root.findall(f"{{{NAMESPACE}}}entry")
    assert len(list(entry)) == 7
    assert text(entry, "content").startswith("\ufffd\ufffd\ufffd\ufffd]]>")


def test_the_feed_is_described() -> None:
    """As what it is."""
    answer = describe(service)["paths"]["/feed.atom"]["get"]["responses"]["200"]
    assert list(answer["content"]) == ["application/atom+xml"]


async def test_what_is_asked_over_http(tmp_path: Path) -> None:
    """Entity tags, limits, and the feed with the address of the door that was used."""
    async with hosted(service, tmp_path) as at:
        await at.apply(written(title="Hello world", body="x"), written(OTHER, "Else"))
        for path in ("/posts", f"/posts/{POST}", "/feed.atom", "/posts?search=hel&limit=1"):
            answer = await at.client.get(path)
            assert answer.status == 200, path
            known = {"If-None-Match": answer.headers["ETag"]}
            for method in ("GET", "HEAD"):
                again = await at.client.request(method, path, headers=known)
                assert (again.status, await again.read()) == (304, b""), path
            head = await at.client.head(path)
            assert (head.status, head.headers["ETag"]) == (200, answer.headers["ETag"])
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
    async with hosted(service, tmp_path) as at:
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
        async with at.client.get("/live", headers=headers) as answer:
            async for line in answer.content:
                if line.startswith(b"event: "):
                    told.append(line.decode().strip().removeprefix("event: "))
                if b"Last" in line:
                    break
        assert told == ["comment-deleted", "comment-deleted", "post-deleted", "post"]
        headers = {"Last-Event-ID": f"{at.bus.log}:{last}"}
        async with at.client.get("/live", headers=headers) as answer:
            await at.apply(said(post_id=OTHER, content="secret"))
            seen = b""
            while b'"comment"' not in seen and b"event: comment" not in seen:
                seen += await answer.content.readline()
            seen += await answer.content.readline()
        assert b"secret" not in seen
        assert MINE.encode() not in seen
        assert b'"content":null' in seen


# All of it against a model: any order of events gives the rows that a few dicts would give.


class Model:
    """Posts and comments as plain dicts, and the events that made them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.posts: dict[str, str] = {}
        self.comments: dict[str, dict[str, Any]] = {}
        self.made: set[str] = set()

    def do(self, verb: str, number: int, word: str) -> None:
        """Let something happen; an id is made once, everything else may come at any time."""
        post_id, comment_id = derived_id("post", number), derived_id("comment", number)
        new = {"post": post_id, "say": comment_id}.get(verb)
        if new in self.made or (verb == "say" and post_id not in self.made):
            return
        self.made |= {new} if new else set()
        getattr(self, f"_{verb}")(post_id, comment_id, word)

    def _post(self, post_id: str, _: str, word: str) -> None:
        self.events.append(written(post_id, word))
        self.posts[post_id] = word

    def _edit(self, post_id: str, _: str, word: str) -> None:
        self.events.append(rewritten(word, id_=post_id))
        if post_id in self.posts:
            self.posts[post_id] = word

    def _unpost(self, post_id: str, comment_id: str, _: str) -> None:
        self.events.append(unwritten(post_id))
        self.posts.pop(post_id, None)
        self.comments.pop(comment_id, None)

    def _say(self, post_id: str, comment_id: str, word: str) -> None:
        self.events.append(said(comment_id, word, post_id))
        if post_id in self.posts:
            self.comments[comment_id] = {"content": word, "status": "pending"}

    def _resay(self, _: str, comment_id: str, word: str) -> None:
        self.events.append(resaid(word, comment_id))
        if comment_id in self.comments:
            self.comments[comment_id] = {"content": word, "status": "pending"}

    def _unsay(self, _: str, comment_id: str, __: str) -> None:
        self.events.append(unsaid(comment_id))
        self.comments.pop(comment_id, None)

    def _approve(self, _: str, comment_id: str, word: str) -> None:
        self.events.append(settled("approved", word, comment_id))
        known = self.comments.get(comment_id)
        if known and known["content"] == word:
            known["status"] = "approved"


COLOURS = ("red", "green", "blue")
VERBS = ("post", "edit", "unpost", "say", "resay", "unsay", "approve")


@settings(max_examples=200)
@for_all(
    st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 2), st.sampled_from(COLOURS)), max_size=40)
)
def test_rows_are_what_a_model_says(happenings: list[tuple[str, int, str]]) -> None:
    """Posts, comments, statuses, and what is found, whatever happened in whichever order."""
    model = Model()
    for happening in happenings:
        model.do(*happening)
    view = given(QueryView, *model.events)
    shown = posts(view, meta(MINE)).content
    assert {id_: item.title for id_, item in shown.items()} == model.posts
    comments = [one for item in shown.values() for one in item.comments]
    assert {one.id: (one.content, one.status) for one in comments} == {
        id_: (known["content"], known["status"]) for id_, known in model.comments.items()
    }
    for word in COLOURS:
        expected = {id_ for id_, title in model.posts.items() if title == word}
        assert set(posts(view, meta(), search=word).content) == expected
    view.db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
