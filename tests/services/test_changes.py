"""What authors may change, as authors of services see it: given events, when a command, then events."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import Conflict, Forbidden, NotFound
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.comments import service as comments
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.comments.models import CONFLICTING
from blog.services.comments.view import CommentsView
from blog.services.posts import service as posts
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.posts.view import PostsView
from blog.testing.given import given

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
POST, OTHER, COMMENT = derived_id("post"), derived_id("other"), derived_id("comment")
MINE, YOURS = "a" * 64, "b" * 64


def meta(author: str | None = MINE) -> Meta:
    """Make what a request would bring, a day after everything was written."""
    return Meta(request_id="r", now=LATER, author_hash=author)


def a_post(author: str | None = MINE) -> PostCreated:
    """Give a post."""
    return PostCreated(id=POST, title="Hello", body="you", created_at=NOW, author_hash=author)


def a_comment(id_: str = COMMENT, content: str = "hi", author: str | None = MINE) -> CommentCreated:
    """Give a comment on the post."""
    return CommentCreated(id=id_, post_id=POST, content=content, created_at=NOW, author_hash=author)


def an_edit(content: str = "hey") -> CommentEdited:
    """Give other words for the comment."""
    return CommentEdited(id=COMMENT, post_id=POST, content=content, edited_at=LATER)


POST_EDITED = PostEdited(id=POST, title="Good", body="day", edited_at=LATER)
POST_DELETED = PostDeleted(id=POST, deleted_at=LATER)
COMMENT_DELETED = CommentDeleted(id=COMMENT, post_id=POST, deleted_at=LATER)
APPROVED = CommentUpdated(id=COMMENT, post_id=POST, content="hi", status="approved")

Change = Callable[..., Append | Unchanged]


def edit_post(*events: Event, author: str | None = MINE, sequence: int | None = None) -> Any:
    """Edit the post so that it is what `POST_EDITED` says."""
    edit = posts.PostEdit(title=" Good ", body="day", sequence=sequence)
    return posts.edit_post(POST, edit, given(PostsView, *events), meta(author))


def delete_post(*events: Event, author: str | None = MINE, sequence: int | None = None) -> Any:
    """Delete the post."""
    return posts.delete_post(POST, given(PostsView, *events), meta(author), sequence)


def edit_comment(*events: Event, author: str | None = MINE, sequence: int | None = None) -> Any:
    """Edit the comment so that it is what `an_edit()` says."""
    edit = comments.CommentEdit(content="hey", sequence=sequence)
    return comments.edit_comment(POST, COMMENT, edit, given(CommentsView, *events), meta(author))


def delete_comment(*events: Event, author: str | None = MINE, sequence: int | None = None) -> Any:
    """Delete the comment."""
    view = given(CommentsView, *events)
    return comments.delete_comment(POST, COMMENT, view, meta(author), sequence)


def written(author: str | None = MINE) -> list[Event]:
    """Give a post and a comment: sequences 1 and 2."""
    return [a_post(author), a_comment(author=author)]


CHANGES = [
    pytest.param(edit_post, POST_EDITED, 1, posts.CONFLICTING, id="edit-post"),
    pytest.param(delete_post, POST_DELETED, 1, posts.CONFLICTING, id="delete-post"),
    pytest.param(edit_comment, an_edit(), 2, CONFLICTING, id="edit-comment"),
    pytest.param(delete_comment, COMMENT_DELETED, 2, CONFLICTING, id="delete-comment"),
]
every_change = pytest.mark.parametrize(("change", "event", "version", "types"), CHANGES)


@every_change
def test_an_author_changes_what_is_there(
    change: Change, event: Event, version: int, types: tuple[type[Event], ...]
) -> None:
    """One event, if by then no other change has come behind what the view holds."""
    for seen in (None, version):
        decision = change(*written(), sequence=seen)
        assert isinstance(decision, Append)
        assert (decision.events, decision.expect, decision.types) == ([event], 2, types)


@every_change
def test_another_version_is_a_conflict(change: Change, event: Event, version: int, types: Any) -> None:
    """The problem says which version there is now; another one is never written over unseen."""
    for seen in (version + 1, 99):
        with pytest.raises(Conflict) as refused:
            change(*written(), sequence=seen)
        assert refused.value.extensions == {"sequence": version}


@every_change
def test_what_is_so_already_stays(change: Change, event: Event, version: int, types: Any) -> None:
    """The same again, by the gateway or by a person, whatever version was seen: nothing to append."""
    for seen in (None, version, 99):
        decision = change(*written(), event, sequence=seen)
        assert isinstance(decision, Unchanged)
        assert decision.sequence == 3


@pytest.mark.parametrize("change", [edit_post, delete_post, edit_comment, delete_comment])
@pytest.mark.parametrize(("author", "reader"), [(MINE, YOURS), (MINE, None), (None, None), (None, MINE)])
def test_nobody_else_may(change: Change, author: str | None, reader: str | None) -> None:
    """Not with another token, nor without one; what was written without one is nobody's."""
    with pytest.raises(Forbidden):
        change(*written(author), author=reader)


@every_change
def test_what_is_not_there_is_not_found(change: Change, event: Event, version: int, types: Any) -> None:
    """Never written, or deleted: for who did not delete it there is nothing to see."""
    with pytest.raises(NotFound):
        change()
    gone = POST_DELETED if version == 1 else COMMENT_DELETED
    with pytest.raises(NotFound):
        change(*written(), gone, author=YOURS)
    if "edit" in change.__name__:
        with pytest.raises(NotFound):
            change(*written(), gone)


def test_the_author_gets_the_post_as_it_is_now() -> None:
    """Who wrote it and when stays; the version is that of the edit."""
    decision = edit_post(a_post())
    response = posts.as_edited(POST_EDITED, Written(decision.events, 9, decision.before))
    kept = edit_post(a_post(), POST_EDITED).content
    assert kept == response.model_copy(update={"sequence": 2})
    assert (response.title, response.created_at, response.edited_at) == ("Good", NOW, LATER)
    first = posts.as_post(a_post(), Written([], 1))
    assert (first.sequence, first.edited_at, first.title) == (1, None, "Hello")


def test_the_author_gets_the_comment_as_it_is_now() -> None:
    """Pending again, with the version of the edit."""
    decision = edit_comment(*written(), APPROVED)
    response = comments.as_edited(an_edit(), Written(decision.events, 4, decision.before))
    kept = edit_comment(*written(), APPROVED, an_edit()).content
    assert kept == response
    assert (response.status, response.content, response.edited_at) == ("pending", "hey", LATER)
    first = comments.as_comment(a_comment(), Written([], 2))
    assert (first.sequence, first.status) == (2, "pending")


def test_a_verdict_makes_no_new_version() -> None:
    """What an author has seen is what the author wrote."""
    assert isinstance(edit_comment(*written(), APPROVED, sequence=2), Append)
    thread = comments.comments_of(POST, given(CommentsView, *written(), APPROVED), meta(None))
    assert [(item.sequence, item.status) for item in thread] == [(2, "approved")]


@pytest.mark.parametrize("sequence", [0, -1, "x", 1.5])
def test_a_version_is_a_sequence(sequence: Any) -> None:
    """A whole number of the log."""
    with pytest.raises(ValidationError):
        posts.PostEdit(title="x", sequence=sequence)


@pytest.mark.parametrize(
    "ask",
    [
        lambda view: comments.comments_of(POST, view, meta()),
        lambda view: comments.write_comment(POST, comments.CommentDraft(content="x"), view, meta()),
        lambda view: comments.edit_comment(
            POST, COMMENT, comments.CommentEdit(content="x"), view, meta()
        ),
        lambda view: comments.delete_comment(POST, COMMENT, view, meta()),
    ],
)
def test_with_its_post_a_comment_is_gone(ask: Callable[[CommentsView], object]) -> None:
    """For reading and writing; what comes for it later, as it was on its way, changes nothing."""
    with pytest.raises(NotFound):
        ask(given(CommentsView, *written(), POST_DELETED, a_comment(OTHER), APPROVED))


@pytest.mark.parametrize("post_id", [POST, OTHER])
def test_a_comment_is_found_at_its_own_post_only(post_id: str) -> None:
    """A path that does not fit together leads nowhere."""
    other = a_post().model_copy(update={"id": OTHER})
    view = given(CommentsView, *written(), other)
    assert (view.find(post_id, COMMENT) is not None) is (post_id == POST)


def test_what_is_deleted_says_nothing_any_more() -> None:
    """Whose it was and where it stood is all that the views keep."""
    view = given(CommentsView, *written(), COMMENT_DELETED, an_edit(), APPROVED)
    [row] = view.db.execute("SELECT content, author, author_hash, deleted FROM comments")
    assert row == ("", "", MINE, 1)
    kept = given(PostsView, a_post(), POST_DELETED, POST_EDITED)
    assert kept.db.execute("SELECT title, body, deleted FROM posts").fetchall() == [("", "", 1)]
