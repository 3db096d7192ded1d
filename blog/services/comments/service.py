"""Comments: readers comment on posts; moderation's verdict decides whether a comment is shown."""

from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.authorship import Version, authorize, must_be_current
from blog.core.contract import Meta, Service
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import NotFound
from blog.core.ids import Id
from blog.core.operator import OPERATOR
from blog.core.text import Line, Prose
from blog.services.comments import operator
from blog.services.comments.events import (
    CommentCreated,
    CommentDeleted,
    CommentEdited,
    CommentUpdated,
)
from blog.services.comments.models import CONFLICTING, Comment
from blog.services.comments.view import CommentsView
from blog.services.moderation.events import CommentModerated

service = Service("comments", view=CommentsView)


class CommentDraft(BaseModel):
    """What a reader sends."""

    content: Annotated[Prose, Field(max_length=5000)]
    author: Annotated[Line, Field(max_length=80)] = ""


class CommentEdit(BaseModel):
    """What an author sends to change a comment; `sequence` is the version that was seen."""

    content: Annotated[Prose, Field(max_length=5000)]
    sequence: Version = None


def as_comment(event: CommentCreated, written: Written) -> Comment:
    """Show the comment to its author."""
    fields = event.model_dump(exclude={"author_hash"})
    return Comment(**fields, status="pending", sequence=written.sequence)


def as_edited(event: CommentEdited, written: Written) -> Comment:
    """Show the comment as it is now: to be moderated again."""
    changed = event.model_dump() | {"status": "pending", "sequence": written.sequence}
    return Comment.model_validate(written.before.model_dump() | changed)


# Nothing is expected of the log: a comment on a post that goes at this moment goes with it.
@service.command("POST", "/posts/{post_id}/comments", response=as_comment)
def write_comment(post_id: Id, draft: CommentDraft, view: CommentsView, meta: Meta) -> CommentCreated:
    """Comment on a post."""
    _must_exist(view, post_id)
    return CommentCreated(
        id=meta.new_id(),
        post_id=post_id,
        **draft.model_dump(),
        created_at=meta.now,
        author_hash=meta.author_hash,
    )


@service.command("PUT", "/posts/{post_id}/comments/{comment_id}", response=as_edited)
def edit_comment(
    post_id: Id, comment_id: Id, edit: CommentEdit, view: CommentsView, meta: Meta
) -> Append | Unchanged:
    """Edit a comment of one's own."""
    comment = authorize(view.find(post_id, comment_id), meta, f"comment {comment_id}")
    if comment.content == edit.content:
        return Unchanged(comment, comment.sequence)
    must_be_current(comment.sequence, edit.sequence)
    event = CommentEdited(id=comment_id, post_id=post_id, content=edit.content, edited_at=meta.now)
    return Append([event], expect=view.applied, types=CONFLICTING, before=comment)


@service.command("DELETE", "/posts/{post_id}/comments/{comment_id}")
def delete_comment(
    post_id: Id, comment_id: Id, view: CommentsView, meta: Meta, sequence: Version = None
) -> Append | Unchanged:
    """Delete a comment of one's own."""
    found = view.find(post_id, comment_id)
    if found is not None and found.was_deleted_by(meta):
        return Unchanged(sequence=found.sequence)
    comment = authorize(found, meta, f"comment {comment_id}")
    must_be_current(comment.sequence, sequence)
    event = CommentDeleted(id=comment_id, post_id=post_id, deleted_at=meta.now)
    return Append([event], expect=view.applied, types=CONFLICTING)


@service.reaction
def settle(verdict: CommentModerated, view: CommentsView) -> CommentUpdated | None:
    """Give the comment the status of the verdict; unless an operator has decided otherwise."""
    override = view.override(verdict.id, verdict.content)
    if override is not None and (override, OPERATOR) != (verdict.status, verdict.by):
        return None
    return CommentUpdated(**verdict.model_dump(include={"id", "post_id", "content", "status"}))


for name, handler in (
    ("delete", operator.delete_comment),
    ("reject", operator.reject_comment),
    ("approve", operator.approve_comment),
):
    service.operator(name)(handler)


@service.query("GET", "/posts/{post_id}/comments")
def comments_of(
    post_id: Id,
    view: CommentsView,
    meta: Meta,
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    after: Annotated[str, Field(max_length=64)] = "",
) -> list[Comment]:
    """List a post's comments, oldest first."""
    _must_exist(view, post_id)
    return view.comments_of(post_id, reader=meta.author_hash, after=after, limit=limit)


def _must_exist(view: CommentsView, post_id: str) -> None:
    if not view.has_post(post_id):
        raise NotFound(f"There is no post {post_id}.")
