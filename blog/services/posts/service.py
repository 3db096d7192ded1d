"""Posts: somebody writes one, and may change it or take it back."""

from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.authorship import Version, authorize, must_be_current
from blog.core.contract import Meta, Service
from blog.core.decision import Append, Unchanged, Written
from blog.core.errors import NotFound
from blog.core.ids import Id
from blog.core.operator import OPERATOR, Reason
from blog.core.text import Line, Text, Title
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.posts.view import Post, PostsView

service = Service("posts", view=PostsView)

CONFLICTING = (PostEdited, PostDeleted)
"""Events that a decision about a post must not miss."""


class PostEdit(BaseModel):
    """What an author sends to change a post; `sequence` is the version that was seen."""

    title: Annotated[Title, Field(max_length=200)]
    body: Annotated[Text, Field(max_length=100_000)] = ""
    sequence: Version = None


class PostDraft(BaseModel):
    """What a writer sends."""

    title: Annotated[Title, Field(max_length=200)]
    body: Annotated[Text, Field(max_length=100_000)] = ""
    author: Annotated[Line, Field(max_length=80)] = ""


def as_post(event: PostCreated, written: Written) -> Post:
    """Show the post that was written."""
    return Post(**event.model_dump(exclude={"author_hash"}), sequence=written.sequence)


def as_edited(event: PostEdited, written: Written) -> Post:
    """Show the post as it is now."""
    changed = event.model_dump() | {"sequence": written.sequence}
    return Post.model_validate(written.before.model_dump() | changed)


# /posts/create is what the clients of a well-known course on this subject call.
@service.command("POST", "/posts", "/posts/create", response=as_post, location="/posts/{id}")
def write_post(draft: PostDraft, meta: Meta) -> PostCreated:
    """Write a post."""
    return PostCreated(
        id=meta.new_id(),
        **draft.model_dump(),
        created_at=meta.now,
        author_hash=meta.author_hash,
    )


@service.command("PUT", "/posts/{post_id}", response=as_edited)
def edit_post(post_id: Id, edit: PostEdit, view: PostsView, meta: Meta) -> Append | Unchanged:
    """Edit a post of one's own."""
    post = authorize(view.find(post_id), meta, f"post {post_id}")
    if (post.title, post.body) == (edit.title, edit.body):
        return Unchanged(post, post.sequence)
    must_be_current(post.sequence, edit.sequence)
    event = PostEdited(id=post_id, title=edit.title, body=edit.body, edited_at=meta.now)
    return Append([event], expect=view.applied, types=CONFLICTING, before=post)


@service.command("DELETE", "/posts/{post_id}")
def delete_post(post_id: Id, view: PostsView, meta: Meta, sequence: Version = None) -> Append | Unchanged:
    """Delete a post of one's own, and with it its comments."""
    found = view.find(post_id)
    if found is not None and found.was_deleted_by(meta):
        return Unchanged(sequence=found.sequence)
    post = authorize(found, meta, f"post {post_id}")
    must_be_current(post.sequence, sequence)
    event = PostDeleted(id=post_id, deleted_at=meta.now)
    return Append([event], expect=view.applied, types=CONFLICTING)


@service.operator("delete")
def take_down_post(post_id: Id, view: PostsView, meta: Meta, reason: Reason = None) -> Append | Unchanged:
    """Delete posts of any author, and with them their comments."""
    found = view.find(post_id)
    if found is None:
        raise NotFound(f"There is no post {post_id}.")
    if found.value is None:
        return Unchanged(sequence=found.sequence)
    event = PostDeleted(id=post_id, deleted_at=meta.now, by=OPERATOR, reason=reason)
    return Append([event], expect=view.applied, types=CONFLICTING, before=found.value)
