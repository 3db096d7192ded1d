"""The pages on which authors change what they wrote: theirs only, asked twice, nothing lost."""

import pytest

from blog.core.contract import Html, PeerResponse, Redirect
from blog.core.errors import (
    BlogError,
    Conflict,
    Forbidden,
    Invalid,
    TooLarge,
    TooMany,
    Unavailable,
    status_of,
)
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
from tests.services.peers import COMMENT, POST, FakePeers, a_post, meta

MINE = {"mine": True, "sequence": 5}


async def test_the_form_for_other_words_holds_the_words_there_are() -> None:
    """Of a post and of a comment, with the version that is seen."""
    page = await edit_post_page(POST, FakePeers(query=PeerResponse(a_post(**MINE))))
    form = page.context["form"]
    assert (page.template, form.title, form.body, form.sequence) == ("edit.html", "T", "*b*", 5)
    peers = FakePeers(query=PeerResponse({"id": COMMENT, "content": "c", **MINE}))
    page = await edit_comment_page(POST, COMMENT, peers, after_comment=POST)
    assert peers.query.requests == [(f"/posts/{POST}/comments/{COMMENT}", None, None)]
    assert (page.context["form"].content, page.context["form"].sequence) == ("c", 5)
    assert page.context["resource"].page() == f"/read/{POST}?after_comment={POST}&behind={POST}#{COMMENT}"


@pytest.mark.parametrize("options", [{"behind": POST}, {"after_comment": POST, "behind": COMMENT}])
async def test_the_old_name_of_a_threads_page_is_understood(options: dict[str, str]) -> None:
    """In links and in forms that are still open in browsers; the new name wins."""
    peers = FakePeers(query=PeerResponse({"id": COMMENT, "content": "c", **MINE}))
    for page_of in (edit_comment_page, delete_comment_page):
        page = await page_of(POST, COMMENT, peers, **options)
        assert page.context["resource"].after_comment == POST
    assert Form.model_validate(options).after_comment == POST


async def test_others_get_no_such_form() -> None:
    """Neither for what is somebody else's, nor without being anybody."""
    peers = FakePeers(query=PeerResponse(a_post(sequence=5)), posts=PeerResponse(None))
    with pytest.raises(Forbidden):
        await edit_post_page(POST, peers)
    with pytest.raises(Forbidden):
        await edit_post(POST, PostForm(title="x"), peers, meta())
    assert peers.posts.requests == []


async def test_other_words_are_put_with_the_version_that_was_seen() -> None:
    """And the reader comes back to where it is shown."""
    peers = FakePeers(posts=PeerResponse({}, sequence=9), comments=PeerResponse({}, sequence=10))
    form = PostForm(title="T", body="b", sequence=5)
    assert await edit_post(POST, form, peers, meta("mine")) == Redirect(f"/read/{POST}?after=9")
    change = {"title": "T", "body": "b", "sequence": 5}
    assert peers.posts.requests == [("put", f"/posts/{POST}", change, "mine", form.key)]
    said = CommentForm(content="c", sequence=6, after_comment=POST)
    response = await edit_comment(POST, COMMENT, said, peers, meta("mine"))
    assert response == Redirect(f"/read/{POST}?after_comment={POST}&behind={POST}&after=10#{COMMENT}")
    path = f"/posts/{POST}/comments/{COMMENT}"
    assert peers.comments.requests == [("put", path, {"content": "c", "sequence": 6}, "mine", said.key)]


async def test_deleting_says_which_version() -> None:
    """After a comment the reader is back at its post, after a post at all posts."""
    peers = FakePeers(posts=PeerResponse(None, sequence=9), comments=PeerResponse(None, sequence=10))
    form = Form(sequence=5)
    assert await delete_post(POST, form, peers, meta("mine")) == Redirect("/?after=9")
    assert peers.posts.requests == [("delete", f"/posts/{POST}", {"sequence": "5"}, "mine", form.key)]
    response = await delete_comment(POST, COMMENT, form, peers, meta("mine"))
    assert response == Redirect(f"/read/{POST}?after=10")
    path = f"/posts/{POST}/comments/{COMMENT}"
    assert peers.comments.requests == [("delete", path, {"sequence": "5"}, "mine", form.key)]


async def test_what_changed_meanwhile_is_shown_beside_what_was_typed() -> None:
    """Sent once more, it is about the version that is shown now; under another key."""
    now = a_post(body="theirs", **MINE | {"sequence": 7})
    peers = FakePeers(posts=Conflict("It changed."), query=PeerResponse(now))
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
        (TooMany("Write rate limit exceeded; retry after 2 s."), True),
        (TooLarge("An event is at most 256 KiB."), False),
    ],
)
async def test_other_words_that_could_not_be_put_are_not_lost(
    error: BlogError, *, same_key: bool
) -> None:
    """The form comes back as it was typed, with the version it was about."""
    peers = FakePeers(comments=error, query=PeerResponse({"id": COMMENT, "content": "c", **MINE}))
    form = CommentForm(content="typed", sequence=4)
    page = await edit_comment(POST, COMMENT, form, peers, meta("mine"))
    assert isinstance(page, Html)
    assert (page.context["form"].content, page.context["form"].sequence) == ("typed", 4)
    assert (page.context["form"].key == form.key) is same_key
    assert page.status == status_of(error)


async def test_a_refused_deletion_can_be_asked_for_again() -> None:
    """The question comes back, under the same key."""
    peers = FakePeers(
        comments=TooMany("Write rate limit exceeded; retry after 2 s."),
        query=PeerResponse({"id": COMMENT, "content": "c", **MINE}),
    )
    form = Form(sequence=5)
    page = await delete_comment(POST, COMMENT, form, peers, meta("mine"))
    assert isinstance(page, Html)
    assert (page.template, page.status, page.context["form"]) == ("delete.html", 429, form)
    assert "rate limit" in page.context["failure"]


async def test_it_is_asked_before_it_is_deleted() -> None:
    """With what it is about."""
    peers = FakePeers(query=PeerResponse({"id": COMMENT, "content": "*c*", **MINE}))
    page = await delete_comment_page(POST, COMMENT, peers)
    assert (page.template, page.context["html"]) == ("delete.html", "<p><em>c</em></p>\n")
