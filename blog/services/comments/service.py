"""Comments: readers answer posts; moderation's verdict settles what becomes of an answer."""

from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.contract import Meta, Service
from blog.core.errors import NotFound
from blog.core.ids import Id
from blog.core.text import Line, Prose
from blog.services.comments.events import CommentCreated, CommentUpdated
from blog.services.comments.view import Comment, CommentsView
from blog.services.moderation.events import CommentModerated

service = Service("comments", view=CommentsView)


class CommentDraft(BaseModel):
    """What a reader sends."""

    content: Annotated[Prose, Field(max_length=5000)]
    author: Annotated[Line, Field(max_length=80)] = ""


def as_comment(event: CommentCreated, _: Meta) -> Comment:
    """Show the comment to who wrote it."""
    return Comment(**event.model_dump(exclude={"author_hash"}), status="pending")


@service.command("POST", "/posts/{post_id}/comments", answer=as_comment)
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


@service.reaction
def settle(verdict: CommentModerated) -> CommentUpdated:
    """Give the comment the status that moderation decided on."""
    return CommentUpdated(**verdict.model_dump(include={"id", "post_id", "content", "status"}))


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
