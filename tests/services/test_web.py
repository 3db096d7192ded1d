"""The pages: what they show of what the peers say, and that nothing in it is ever run."""

from typing import Any

import pytest

from blog.core.contract import AUTHOR_COOKIE, Html, PeerResponse, Redirect
from blog.core.errors import BlogError, Invalid, NotFound, TooLarge, TooMany, Unavailable
from blog.core.ids import derived_id
from blog.services.web.forms import CommentForm, PostForm
from blog.services.web.markdown import excerpt, render
from blog.services.web.resource import thread_query
from blog.services.web.service import comment, home, publish, read
from tests.services.peers import COMMENT, POST, FakePeers, a_post, meta


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
    peers = FakePeers(query=PeerResponse({POST: a_post()}, next={"before": POST, "limit": "20"}))
    page = await home(peers, before=COMMENT, after=7)
    assert peers.query.requests == [("/posts", {"before": COMMENT}, 7)]
    assert list(page.context["posts"]) == [a_post()]
    assert page.context["older"] == {"before": POST, "limit": "20"}


async def test_publishing_goes_to_the_post_and_keeps_the_author() -> None:
    """The reader sees what was written, and is its author from now on."""
    peers = FakePeers(posts=PeerResponse({"id": POST}, sequence=9))
    form = PostForm(title="T")
    response = await publish(form, peers, meta("mine"))
    assert response == Redirect(f"/read/{POST}?after=9", {AUTHOR_COOKIE: "mine"})
    draft = {"title": "T", "body": "", "author": ""}
    assert peers.posts.requests == [("/posts", draft, "mine", form.key)]


async def test_a_form_that_is_sent_twice_has_one_author() -> None:
    """Before the first cookie is there: the same form makes the same token, another one another."""
    peers = FakePeers(posts=PeerResponse({"id": POST}, sequence=9))
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
        (TooMany("Write rate limit exceeded; retry after 2 s."), 429, True),
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
    page = await read(POST, FakePeers(query=PeerResponse(a_post(comments=comments))))
    assert page.context["body"] == "<p><em>b</em></p>\n"
    assert [str(html) for _, html in page.context["comments"]] == ["", "<p><em>c</em></p>\n"]


async def test_commenting() -> None:
    """The reader comes back to the comment."""
    peers = FakePeers(comments=PeerResponse({"id": COMMENT}, sequence=4))
    response = await comment(POST, CommentForm(content="c"), peers, meta("mine"))
    assert response == Redirect(f"/read/{POST}?after=4#{COMMENT}", {AUTHOR_COOKIE: "mine"})


async def test_a_comment_that_was_refused_is_shown_below_its_post() -> None:
    """With what is wrong with it."""
    error = Invalid("content: is empty", errors=[{"loc": ["content"], "msg": "Value error, is empty"}])
    peers = FakePeers(comments=error, query=PeerResponse(a_post()))
    page = await comment(POST, CommentForm(content=" "), peers, meta())
    assert isinstance(page, Html)
    assert (page.template, page.status) == ("post.html", 422)
    assert page.context["errors"] == {"content": "is empty"}


async def test_a_long_thread_has_pages() -> None:
    """A full page leads to the next one, which is asked for from behind the last one shown."""
    some = {"content": "x", "status": "approved"}
    full = [some | {"id": derived_id("c", n)} for n in range(100)]
    first = await read(POST, FakePeers(query=PeerResponse(a_post(comments=full))))
    assert first.context["more"] == full[-1]["id"]
    peers = FakePeers(query=PeerResponse(a_post(comments=[some])))
    last = await read(POST, peers, after=8, after_comment=full[-1]["id"])
    assert peers.query.requests == [(f"/posts/{POST}", thread_query(full[-1]["id"]), 8)]
    assert len(last.context["comments"]) == 1
    assert last.context["more"] is None


@pytest.mark.parametrize("options", [{"behind": COMMENT}, {"after_comment": COMMENT, "behind": POST}])
async def test_the_old_name_of_a_page_is_understood(options: dict[str, Any]) -> None:
    """Links with `?behind=` are in bookmarks; `?after_comment=` wins, and is what pages link to."""
    peers = FakePeers(query=PeerResponse(a_post()), comments=PeerResponse({"id": COMMENT}, sequence=4))
    page = await read(POST, peers, **options)
    assert page.context["after_comment"] == COMMENT
    assert peers.query.requests == [
        (f"/posts/{POST}", {"after_comment": COMMENT, "behind": COMMENT}, None)
    ]
    response = await comment(POST, CommentForm(content="c"), peers, meta("mine"), **options)
    assert isinstance(response, Redirect)
    assert response.to == f"/read/{POST}?after_comment={COMMENT}&behind={COMMENT}&after=4#{COMMENT}"


async def test_searching_asks_for_what_was_typed() -> None:
    """A blank search is none; the next page looks for the same."""
    for typed, asked in ((" two  words ", {"search": "two  words"}), (" ", {})):
        peers = FakePeers(query=PeerResponse({}, next={"before": POST, "search": "two words"}))
        page = await home(peers, search=typed)
        assert peers.query.requests == [("/posts", asked, None)]
        assert page.context["search"] == asked.get("search", "")
