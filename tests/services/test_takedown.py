"""What the operator of the blog takes down, whoever wrote it: given events, when an order, then these."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged
from blog.core.errors import NotFound
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.comments.operator import approve_comment, delete_comment, reject_comment
from blog.services.comments.service import comments_of, settle
from blog.services.comments.view import CommentsView
from blog.services.moderation.events import CommentModerated
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.posts.service import take_down_post
from blog.services.posts.view import PostsView
from blog.testing.given import given

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
POST, COMMENT, OTHER = derived_id("post"), derived_id("comment"), derived_id("other")
META = Meta(request_id="r", now=LATER)

Verdict = Callable[..., Append | Unchanged]
VERDICTS = [(approve_comment, "approved"), (reject_comment, "rejected")]


def a_post() -> PostCreated:
    """Give a post that nobody has a token for."""
    return PostCreated(id=POST, title="Buy now", created_at=NOW)


def a_comment(content: str = "hi") -> CommentCreated:
    """Give a comment of somebody else."""
    return CommentCreated(id=COMMENT, post_id=POST, content=content, created_at=NOW, author_hash="a" * 64)


def moderated(status: str, content: str = "hi", **by: str) -> CommentModerated:
    """Give a verdict."""
    said = {"id": COMMENT, "post_id": POST, "content": content, "status": status}
    return CommentModerated.model_validate(said | by)


def updated(status: str, content: str = "hi") -> CommentUpdated:
    """Give what follows from a verdict."""
    said = {"id": COMMENT, "post_id": POST, "content": content, "status": status}
    return CommentUpdated.model_validate(said)


def commented(*events: Event) -> CommentsView:
    """Give the view of a comment to which `events` happened."""
    return given(CommentsView, a_post(), a_comment(), *events)


def appended(decision: Append | Unchanged) -> list[Event]:
    """Return the events of a decision that must not overlook what happens at the same time."""
    assert isinstance(decision, Append)
    assert decision.expect is not None
    assert decision.types
    assert decision.before is not None
    return list(decision.events)


def test_an_operator_deletes_a_post_that_has_no_author() -> None:
    """No token is asked for, and the event says who did it and why."""
    [event] = appended(take_down_post(POST, given(PostsView, a_post()), META, reason="spam"))
    assert event == PostDeleted(id=POST, deleted_at=LATER, by="operator", reason="spam")
    assert given(PostsView, a_post(), event).find(POST).value is None  # type: ignore[union-attr]


def test_what_is_deleted_already_is_left_as_it_is() -> None:
    """By its author, or by an operator: the order is carried out, and nothing is appended."""
    gone = PostDeleted(id=POST, deleted_at=NOW)
    assert take_down_post(POST, given(PostsView, a_post(), gone), META) == Unchanged(sequence=2)
    unsaid = CommentDeleted(id=COMMENT, post_id=POST, deleted_at=NOW)
    assert delete_comment(COMMENT, commented(unsaid), META) == Unchanged(sequence=3)


def test_an_operator_deletes_a_comment_by_its_id_alone() -> None:
    """The view knows which post it is on."""
    [event] = appended(delete_comment(COMMENT, commented(), META, reason="rude"))
    assert event == CommentDeleted(
        id=COMMENT, post_id=POST, deleted_at=LATER, by="operator", reason="rude"
    )
    assert comments_of(POST, commented(event), META) == []


@pytest.mark.parametrize(
    "order",
    [
        lambda: take_down_post(OTHER, given(PostsView, a_post()), META),
        lambda: delete_comment(OTHER, commented(), META),
        lambda: reject_comment(OTHER, commented()),
        lambda: approve_comment(OTHER, commented()),
    ],
)
def test_what_never_was_is_not_found(order: Callable[[], Any]) -> None:
    """The error names it."""
    with pytest.raises(NotFound, match=OTHER):
        order()


@pytest.mark.parametrize(
    "gone",
    [
        CommentDeleted(id=COMMENT, post_id=POST, deleted_at=NOW),
        PostDeleted(id=POST, deleted_at=NOW),
    ],
)
def test_what_is_gone_cannot_be_judged(gone: Event) -> None:
    """Nor can a comment whose post is gone; deleting it is carried out already."""
    for judge, _ in VERDICTS:
        with pytest.raises(NotFound, match="deleted"):
            judge(COMMENT, commented(gone))
    assert isinstance(delete_comment(COMMENT, commented(gone), META), Unchanged)


@pytest.mark.parametrize("before", ["pending", "approved", "rejected"])
@pytest.mark.parametrize(("judge", "status"), VERDICTS)
def test_a_verdict_holds_at_once(judge: Verdict, status: str, before: str) -> None:
    """It is appended with what follows from it, and no reaction has to run for readers to see that."""
    past = [] if before == "pending" else [moderated(before), updated(before)]
    events = appended(judge(COMMENT, commented(*past), reason="because"))
    assert events == [moderated(status, reason="because", by="operator"), updated(status)]
    [shown] = comments_of(POST, commented(*past, *events), META)
    assert (shown.status, shown.content) == (status, "hi" if status == "approved" else None)


@pytest.mark.parametrize(("judge", "status"), VERDICTS)
def test_the_same_verdict_again_changes_nothing(judge: Verdict, status: str) -> None:
    """Also where moderation has said the same since; the other one is another verdict."""
    first = appended(judge(COMMENT, commented()))
    assert judge(COMMENT, commented(*first)) == Unchanged(sequence=2)
    assert judge(COMMENT, commented(*first, moderated(status))) == Unchanged(sequence=2)
    for other, turned in VERDICTS:
        if turned != status:
            assert len(appended(other(COMMENT, commented(*first)))) == 2


@pytest.mark.parametrize(("judge", "status"), VERDICTS)
def test_moderation_does_not_overrule_an_operator(judge: Verdict, status: str) -> None:
    """Its verdict on the same words comes later, or is settled later: nothing follows from it."""
    other = "rejected" if status == "approved" else "approved"
    word = appended(judge(COMMENT, commented()))
    late = moderated(other)
    assert settle(late, commented(*word, late)) is None
    early = [moderated(other), *appended(judge(COMMENT, commented(moderated(other))))]
    assert settle(moderated(other), commented(*early)) is None
    verdict = word[0]
    assert isinstance(verdict, CommentModerated)
    assert settle(verdict, commented(*word, late)) == updated(status)


def test_an_edited_comment_is_moderated_again() -> None:
    """An operator's word is about what was said then."""
    word = appended(reject_comment(COMMENT, commented()))
    edited = CommentEdited(id=COMMENT, post_id=POST, content="hey", edited_at=LATER)
    verdict = moderated("approved", "hey")
    view = commented(*word, edited, verdict)
    assert settle(verdict, view) == updated("approved", "hey")
    [shown] = comments_of(POST, view, META)
    assert shown.status == "pending"


class OldPostDeleted(Event, key="id"):
    """A post's deletion as instances know it that are older than operators."""

    id: str
    deleted_at: datetime


class OldCommentDeleted(Event, key="post_id"):
    """The same of a comment's."""

    id: str
    post_id: str
    deleted_at: datetime


class OldCommentModerated(Event, key="post_id"):
    """The same of a verdict."""

    id: str
    post_id: str
    content: str
    status: str
    reason: str | None = None


@pytest.mark.parametrize(
    ("event", "old"),
    [
        (PostDeleted(id=POST, deleted_at=NOW, by="operator", reason="spam"), OldPostDeleted),
        (
            CommentDeleted(id=COMMENT, post_id=POST, deleted_at=NOW, by="operator", reason="spam"),
            OldCommentDeleted,
        ),
        (moderated("rejected", reason="rude", by="operator"), OldCommentModerated),
    ],
)
def test_older_instances_understand_what_operators_do(event: Event, old: type[Event]) -> None:
    """Same type, same version, and who did it is passed over; whoever comes later may be somebody new."""
    assert event.version == 1
    written = event.model_dump(mode="json")
    read = old.model_validate(written)
    assert read.model_dump(mode="json").items() <= written.items()
    assert type(event).model_validate(written | {"by": "robot"}) != event


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (PostDeleted(id=POST, deleted_at=NOW), {"id", "deleted_at"}),
        (CommentDeleted(id=COMMENT, post_id=POST, deleted_at=NOW), {"id", "post_id", "deleted_at"}),
        (moderated("approved"), {"id", "post_id", "content", "status", "reason"}),
    ],
)
def test_what_others_write_is_what_it_was(event: Event, fields: set[str]) -> None:
    """An author's events have no field more than before."""
    assert event.model_dump(mode="json").keys() == fields
    assert type(event).model_validate(event.model_dump(mode="json")) == event


def test_views_of_others_are_not_built_anew() -> None:
    """What posts and readers are shown from is made of the same tables and events as before."""
    assert set(PostsView.appliers) == {kind.type for kind in (PostCreated, PostEdited, PostDeleted)}
