"""The pages: what they show of what the peers say, and that nothing in it is ever run."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.contract import AUTHOR_COOKIE, Html, Meta, PeerAnswer, Redirect
from blog.core.errors import BlogError, Conflict, Forbidden, Invalid, NotFound, TooLarge, Unavailable
from blog.core.ids import derived_id
from blog.services.web.changes import (
    delete_comment,
    delete_comment_page,
    delete_post,
    edit_comment,
    edit_comment_page,
    edit_post,
    edit_post_page,
)
from blog.services.web.forms import CommentForm, Form, PostForm
from blog.services.web.markdown import excerpt, render
from blog.services.web.service import comment, home, publish, read

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POST, COMMENT = derived_id("post"), derived_id("comment")


class FakePeer:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, after: int | None = None
    ) -> PeerAnswer:
        """Read."""
        return self._note(path, params, after)

    async def post(self, path: str, content: Any, *, author_token: str, key: str) -> PeerAnswer:
        """Write."""
        return self._note(path, content, author_token, key)

    async def put(self, path: str, content: Any, *, author_token: str, key: str) -> PeerAnswer:
        """Replace."""
        return self._note("put", path, content, author_token, key)

    async def delete(
        self, path: str, *, params: Mapping[str, str] | None = None, author_token: str, key: str
    ) -> PeerAnswer:
        """Delete."""
        return self._note("delete", path, params, author_token, key)

    def _note(self, *asked: Any) -> PeerAnswer:
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, PeerAnswer)
        return self.answer


class FakePeers:
    """Peers by name."""

    def __init__(self, **answers: Any) -> None:
        self.by_name = {name: FakePeer(answer) for name, answer in answers.items()}

    def __getattr__(self, service: str) -> FakePeer:
        """Find one."""
        return self.by_name[service]


def meta(token: str | None = None) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=NOW, author_token=token)


def a_post(**changes: Any) -> dict[str, Any]:
    """Give a post as query shows it."""
    known = {"id": POST, "title": "T", "body": "*b*", "author": "", "created_at": "x", "comments": []}
    return known | changes


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("<img src=x onerror=alert(1)>", "<img"),
        ("![x](http://x/y.png)", "<img"),
        ("[a](javascript:alert(1))", "href"),
        ("[a](JaVaScRiPt:alert(1))", "href"),
        ("[a](data:text/html;base64,xx)", "href"),
        ("<javascript:alert(1)>", "href"),
        ('[a](https://x "\\" onclick=alert(1)")', " onclick=alert(1)>"),
        ("<style>*{display:none}</style>", "<style"),
        ("```html\n<b onclick=x>\n```", "<b"),
        ("<form action=/write><button>", "<form"),
    ],
)
def test_html_of_people_is_text(text: str, never: str) -> None:
    """Neither tags nor addresses that run something come through."""
    assert never not in render(text)


def test_markdown_is_shown() -> None:
    """Emphasis, lists, code, links that say what they are; headings below those of the page."""
    html = render("# A\n\n*b* [c](https://x/)\n\n- d\n\n`e`")
    assert "<h3>A</h3>" in html
    assert "<em>b</em>" in html
    assert "<li>d</li>" in html
    assert "<code>e</code>" in html
    assert 'href="https://x/"' in html
    assert "nofollow" in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("\n\n a  b\n\nc", "a b"), ("x " * 300, "x " * 140 + "…")],
)
def test_an_excerpt_is_how_it_begins(text: str, shown: str) -> None:
    """One paragraph, not too long, cut between words."""
    assert excerpt(text) == shown


async def test_the_list_asks_for_the_page_it_shows() -> None:
    """Paging and read-your-writes are those of the API."""
    peers = FakePeers(query=PeerAnswer({POST: a_post()}, next={"before": POST, "limit": "20"}))
    page = await home(peers, before=COMMENT, after=7)
    assert peers.query.asked == [("/posts", {"before": COMMENT}, 7)]
    assert list(page.context["posts"]) == [a_post()]
    assert page.context["older"] == {"before": POST, "limit": "20"}


async def test_publishing_goes_to_the_post_and_keeps_the_author() -> None:
    """The reader sees what was written, and is its author from now on."""
    peers = FakePeers(posts=PeerAnswer({"id": POST}, sequence=9))
    form = PostForm(title="T")
    answer = await publish(form, peers, meta("mine"))
    assert answer == Redirect(f"/read/{POST}?after=9", {AUTHOR_COOKIE: "mine"})
    draft = {"title": "T", "body": "", "author": ""}
    assert peers.posts.asked == [("/posts", draft, "mine", form.key)]


async def test_a_form_that_is_sent_twice_has_one_author() -> None:
    """Before the first cookie is there: the same form makes the same token, another one another."""
    peers = FakePeers(posts=PeerAnswer({"id": POST}, sequence=9))
    form = PostForm(title="T")
    first, again = await publish(form, peers, meta()), await publish(form, peers, meta())
    other = await publish(PostForm(title="T"), peers, meta())
    assert first == again
    assert first != other
    assert form.key not in str(first)


@pytest.mark.parametrize(
    ("error", "status", "same_key"),
    [
        (
            Invalid("title: is empty", errors=[{"loc": ["title"], "msg": "Value error, is empty"}]),
            422,
            False,
        ),
        (Invalid("This Idempotency-Key was used for another request."), 422, False),
        (TooLarge("An event is at most 256 KiB."), 413, False),
        (Unavailable("The service posts is not running."), 503, True),
    ],
)
async def test_what_could_not_be_published_is_not_lost(
    error: BlogError, status: int, *, same_key: bool
) -> None:
    """The form comes back as it was, and can be sent again."""
    form = PostForm(title="", body="long text")
    page = await publish(form, FakePeers(posts=error), meta())
    assert isinstance(page, Html)
    assert page.status == status
    assert page.context["form"].body == "long text"
    assert (page.context["form"].key == form.key) is same_key
    assert bool(page.context["failure"]) is not bool(page.context["errors"])


async def test_a_post_that_is_on_its_way_is_not_missing() -> None:
    """While the view catches up with what was written, the page asks again; else it is not there."""
    on_its_way = await read(POST, FakePeers(query=NotFound("no", is_stale=True)), after=3)
    assert (on_its_way.template, on_its_way.status) == ("loading.html", 202)
    with pytest.raises(NotFound):
        await read(POST, FakePeers(query=NotFound("no", is_stale=False)), after=3)


async def test_comments_are_shown_as_their_reader_may_see_them() -> None:
    """What is not approved has no text, except for its author."""
    comments = [{"content": None, "status": "pending"}, {"content": "*c*", "status": "approved"}]
    page = await read(POST, FakePeers(query=PeerAnswer(a_post(comments=comments))))
    assert page.context["body"] == "<p><em>b</em></p>\n"
    assert [str(html) for _, html in page.context["comments"]] == ["", "<p><em>c</em></p>\n"]


async def test_commenting() -> None:
    """The reader comes back to the comment."""
    peers = FakePeers(comments=PeerAnswer({"id": COMMENT}, sequence=4))
    answer = await comment(POST, CommentForm(content="c"), peers, meta("mine"))
    assert answer == Redirect(f"/read/{POST}?after=4#{COMMENT}", {AUTHOR_COOKIE: "mine"})


async def test_a_comment_that_was_refused_is_shown_below_its_post() -> None:
    """With what is wrong with it."""
    error = Invalid("content: is empty", errors=[{"loc": ["content"], "msg": "Value error, is empty"}])
    peers = FakePeers(comments=error, query=PeerAnswer(a_post()))
    page = await comment(POST, CommentForm(content=" "), peers, meta())
    assert isinstance(page, Html)
    assert (page.template, page.status) == ("post.html", 422)
    assert page.context["errors"] == {"content": "is empty"}


async def test_a_long_thread_has_pages() -> None:
    """A full page leads to the next one, which is asked for from behind the last one shown."""
    some = {"content": "x", "status": "approved"}
    full = [some | {"id": derived_id("c", n)} for n in range(100)]
    first = await read(POST, FakePeers(query=PeerAnswer(a_post(comments=full))))
    assert first.context["more"] == full[-1]["id"]
    peers = FakePeers(query=PeerAnswer(a_post(comments=[some])))
    last = await read(POST, peers, after=8, behind=full[-1]["id"])
    assert peers.query.asked == [(f"/posts/{POST}", {"behind": full[-1]["id"]}, 8)]
    assert len(last.context["comments"]) == 1
    assert last.context["more"] is None


async def test_searching_asks_for_what_was_typed() -> None:
    """A blank search is none; the next page looks for the same."""
    for typed, asked in ((" two  words ", {"search": "two  words"}), (" ", {})):
        peers = FakePeers(query=PeerAnswer({}, next={"before": POST, "search": "two words"}))
        page = await home(peers, search=typed)
        assert peers.query.asked == [("/posts", asked, None)]
        assert page.context["search"] == asked.get("search", "")


MINE = {"mine": True, "sequence": 5}


async def test_the_form_for_other_words_holds_the_words_there_are() -> None:
    """Of a post and of a comment, with the version that is seen."""
    page = await edit_post_page(POST, FakePeers(query=PeerAnswer(a_post(**MINE))))
    form = page.context["form"]
    assert (page.template, form.title, form.body, form.sequence) == ("edit.html", "T", "*b*", 5)
    peers = FakePeers(query=PeerAnswer({"id": COMMENT, "content": "c", **MINE}))
    page = await edit_comment_page(POST, COMMENT, peers, behind=POST)
    assert peers.query.asked == [(f"/posts/{POST}/comments/{COMMENT}", None, None)]
    assert (page.context["form"].content, page.context["form"].sequence) == ("c", 5)
    assert page.context["subject"].page() == f"/read/{POST}?behind={POST}#{COMMENT}"


async def test_others_get_no_such_form() -> None:
    """Neither for what is somebody else's, nor without being anybody."""
    peers = FakePeers(query=PeerAnswer(a_post(sequence=5)), posts=PeerAnswer(None))
    with pytest.raises(Forbidden):
        await edit_post_page(POST, peers)
    with pytest.raises(Forbidden):
        await edit_post(POST, PostForm(title="x"), peers, meta())
    assert peers.posts.asked == []


async def test_other_words_are_put_with_the_version_that_was_seen() -> None:
    """And the reader comes back to where it is shown."""
    peers = FakePeers(posts=PeerAnswer({}, sequence=9), comments=PeerAnswer({}, sequence=10))
    form = PostForm(title="T", body="b", sequence=5)
    assert await edit_post(POST, form, peers, meta("mine")) == Redirect(f"/read/{POST}?after=9")
    change = {"title": "T", "body": "b", "sequence": 5}
    assert peers.posts.asked == [("put", f"/posts/{POST}", change, "mine", form.key)]
    said = CommentForm(content="c", sequence=6, behind=POST)
    answer = await edit_comment(POST, COMMENT, said, peers, meta("mine"))
    assert answer == Redirect(f"/read/{POST}?behind={POST}&after=10#{COMMENT}")
    path = f"/posts/{POST}/comments/{COMMENT}"
    assert peers.comments.asked == [("put", path, {"content": "c", "sequence": 6}, "mine", said.key)]


async def test_deleting_says_which_version() -> None:
    """After a comment the reader is back at its post, after a post at all posts."""
    peers = FakePeers(posts=PeerAnswer(None, sequence=9), comments=PeerAnswer(None, sequence=10))
    form = Form(sequence=5)
    assert await delete_post(POST, form, peers, meta("mine")) == Redirect("/?after=9")
    assert peers.posts.asked == [("delete", f"/posts/{POST}", {"sequence": "5"}, "mine", form.key)]
    answer = await delete_comment(POST, COMMENT, form, peers, meta("mine"))
    assert answer == Redirect(f"/read/{POST}?after=10")
    path = f"/posts/{POST}/comments/{COMMENT}"
    assert peers.comments.asked == [("delete", path, {"sequence": "5"}, "mine", form.key)]


async def test_what_changed_meanwhile_is_shown_beside_what_was_typed() -> None:
    """Sent once more, it is about the version that is shown now; under another key."""
    now = a_post(body="theirs", **MINE | {"sequence": 7})
    peers = FakePeers(posts=Conflict("It changed."), query=PeerAnswer(now))
    form = PostForm(title="T", body="typed", sequence=5)
    page = await edit_post(POST, form, peers, meta("mine"))
    assert isinstance(page, Html)
    assert (page.status, page.context["changed"]) == (409, True)
    assert (page.context["form"].body, page.context["form"].sequence) == ("typed", 7)
    assert page.context["form"].key != form.key
    assert "theirs" in page.context["html"]
    asked = await delete_post(POST, Form(sequence=5), peers, meta("mine"))
    assert isinstance(asked, Html)
    assert (asked.template, asked.status, asked.context["form"].sequence) == ("delete.html", 409, 7)


@pytest.mark.parametrize(
    ("error", "same_key"),
    [
        (Invalid("x", errors=[{"loc": ["content"], "msg": "is empty"}]), False),
        (Unavailable("The service comments is not running."), True),
    ],
)
async def test_other_words_that_could_not_be_put_are_not_lost(
    error: BlogError, *, same_key: bool
) -> None:
    """The form comes back as it was typed, with the version it was about."""
    peers = FakePeers(comments=error, query=PeerAnswer({"id": COMMENT, "content": "c", **MINE}))
    form = CommentForm(content="typed", sequence=4)
    page = await edit_comment(POST, COMMENT, form, peers, meta("mine"))
    assert isinstance(page, Html)
    assert (page.context["form"].content, page.context["form"].sequence) == ("typed", 4)
    assert (page.context["form"].key == form.key) is same_key


async def test_it_is_asked_before_it_is_deleted() -> None:
    """With what it is about."""
    peers = FakePeers(query=PeerAnswer({"id": COMMENT, "content": "*c*", **MINE}))
    page = await delete_comment_page(POST, COMMENT, peers)
    assert (page.template, page.context["html"]) == ("delete.html", "<p><em>c</em></p>\n")
