"""Services as their authors see them: given events, when a command or reaction, then these events."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from blog.core.contract import Meta
from blog.core.errors import NotFound
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.comments.events import CommentCreated, CommentUpdated
from blog.services.comments.service import CommentDraft, comments_of, settle, write_comment
from blog.services.comments.view import CommentsView
from blog.services.moderation.events import CommentModerated
from blog.services.moderation.service import ModerationSettings, find_word, moderate
from blog.services.posts.events import PostCreated
from blog.services.posts.service import PostDraft, write_post
from blog.services.query.service import post, posts
from blog.services.query.view import SHOWN_COMMENTS, QueryView
from blog.testing.given import given

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POST, OTHER, COMMENT = derived_id("post"), derived_id("other"), derived_id("comment")
MINE, YOURS = "a" * 64, "b" * 64


def meta(author: str | None = None) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=NOW, author_hash=author, new_id=lambda: COMMENT)


def a_post(id_: str = POST, minutes: int = 0) -> PostCreated:
    """Give a post."""
    return PostCreated(id=id_, title="Hello", created_at=NOW + timedelta(minutes=minutes))


def a_comment(id_: str = COMMENT, content: str = "hi", author: str | None = MINE) -> CommentCreated:
    """Give a pending comment."""
    return CommentCreated(id=id_, post_id=POST, content=content, created_at=NOW, author_hash=author)


def an_update(status: str, id_: str = COMMENT) -> CommentUpdated:
    """Give a settled status."""
    return CommentUpdated.model_validate({"id": id_, "post_id": POST, "content": "hi", "status": status})


def test_writing_a_post_makes_one_event() -> None:
    """What the writer sent, with an id and the time of the request."""
    event = write_post(PostDraft(title=" Hello "), meta(MINE))
    assert event == PostCreated(id=COMMENT, title="Hello", created_at=NOW, author_hash=MINE)


@pytest.mark.parametrize(
    "draft",
    [
        {},
        {"title": ""},
        {"title": " "},
        {"title": 7},
        {"title": None},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"title": "x", "body": "y" * 100_001},
        {"title": "x", "author": "y" * 81},
        {"title": ["x"]},
    ],
)
def test_a_bad_post_is_refused(draft: dict[str, Any]) -> None:
    """Wrong types, missing and over-long fields."""
    with pytest.raises(ValidationError):
        PostDraft.model_validate(draft)


@pytest.mark.parametrize("draft", [{}, {"content": ""}, {"content": " \n"}, {"content": "x" * 5001}])
def test_a_bad_comment_is_refused(draft: dict[str, Any]) -> None:
    """1 to 5000 characters, not blank."""
    with pytest.raises(ValidationError):
        CommentDraft.model_validate(draft)


def test_commenting_on_a_post_that_exists() -> None:
    """The comment belongs to the post."""
    event = write_comment(POST, CommentDraft(content="hi"), given(CommentsView, a_post()), meta(MINE))
    assert event == a_comment()


def test_commenting_on_an_unknown_post() -> None:
    """There is nothing to answer."""
    with pytest.raises(NotFound):
        write_comment(OTHER, CommentDraft(content="hi"), given(CommentsView, a_post()), meta())


@pytest.mark.parametrize(
    ("content", "status"),
    [("I like it", "approved"), ("an Orange cat", "rejected"), ("blorange", "rejected")],
)
def test_moderation_looks_for_words(content: str, status: str) -> None:
    """In any case, and inside of other words."""
    verdict = moderate(a_comment(content=content), ModerationSettings())
    assert verdict.status == status
    assert (verdict.reason is None) is (status == "approved")


@pytest.mark.parametrize(("words", "found"), [((), None), (("ß",), "ß"), (("no", "STRASSE"), "STRASSE")])
def test_find_word(words: tuple[str, ...], found: str | None) -> None:
    """Case folds as Unicode says."""
    assert find_word("Die Straße", words) == found


def test_the_verdict_settles_the_comment() -> None:
    """Status and content are taken over."""
    verdict = CommentModerated(id=COMMENT, post_id=POST, content="hi", status="rejected", reason="r")
    view = given(CommentsView, a_post(), a_comment(), verdict)
    assert settle(verdict, view) == an_update("rejected")


@pytest.mark.parametrize(
    ("status", "reader", "content"),
    [
        ("pending", None, None),
        ("pending", YOURS, None),
        ("pending", MINE, "hi"),
        ("rejected", YOURS, None),
        ("rejected", MINE, "hi"),
        ("approved", None, "hi"),
    ],
)
def test_only_its_author_sees_what_is_not_approved(
    status: str, reader: str | None, content: str | None
) -> None:
    """On both read sides."""
    events: list[Event] = [a_post(), a_comment()]
    if status != "pending":
        events.append(an_update(status))
    thread = comments_of(POST, given(CommentsView, *events), meta(reader))
    shown = post(POST, given(QueryView, *events), meta(reader)).comments
    assert [(c.status, c.content) for c in thread] == [(status, content)]
    assert [(c.status, c.content) for c in shown] == [(status, content)]


def test_nobody_sees_without_a_token_what_was_written_without_one() -> None:
    """No token is not the same author as no token."""
    view = given(QueryView, a_post(), a_comment(author=None))
    assert post(POST, view, meta(None)).comments[0].content is None


def test_posts_come_newest_first_in_pages() -> None:
    """Each page says where the next begins; the last says nothing."""
    ids = [derived_id("p", n) for n in range(5)]
    view = given(QueryView, *(a_post(id_, n) for n, id_ in enumerate(ids)))
    first = posts(view, meta(), limit=3)
    assert list(first.content) == ids[:1:-1]
    assert first.next == {"limit": "3", "before": ids[2]}
    last = posts(view, meta(), limit=3, before=ids[2])
    assert list(last.content) == [ids[1], ids[0]]
    assert last.next is None


def test_a_thread_is_read_from_where_the_reader_was() -> None:
    """Keyset paging: behind the comment named by `after`."""
    ids = [derived_id("c", n) for n in range(4)]
    view = given(CommentsView, a_post(), *(a_comment(id_) for id_ in ids))
    assert [c.id for c in comments_of(POST, view, meta(), limit=2)] == ids[:2]
    assert [c.id for c in comments_of(POST, view, meta(), after=ids[1])] == ids[2:]


def test_a_post_shows_its_first_comments_only() -> None:
    """A thread of any length costs the same."""
    many = [a_comment(derived_id("c", n)) for n in range(SHOWN_COMMENTS + 5)]
    shown = post(POST, given(QueryView, a_post(), *many), meta()).comments
    assert [c.id for c in shown] == [c.id for c in many[:SHOWN_COMMENTS]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: post(POST, given(QueryView), meta()),
        lambda: comments_of(POST, given(CommentsView), meta()),
    ],
)
def test_an_unknown_post_is_not_found(ask: Callable[[], object]) -> None:
    """On both read sides."""
    with pytest.raises(NotFound):
        ask()
