"""Query: posts with their comments, as readers see them, and what appears as it appears."""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from blog.core.contract import Changes, Meta, Page, ServerSent, Service
from blog.core.errors import Invalid, NotFound
from blog.core.ids import Id
from blog.services.comments.events import CommentCreated, CommentUpdated
from blog.services.posts.events import PostCreated
from blog.services.query.view import Post, QueryView

service = Service("query", view=QueryView)


@service.query("GET", "/posts")
def posts(
    view: QueryView,
    meta: Meta,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    before: Id | None = None,
) -> Page:
    """List posts with their comments, newest first, as a map by id."""
    if before is not None and view.post(before, reader=None) is None:
        raise Invalid(f"before: there is no post {before}")
    found = view.posts(before=before, limit=limit + 1, reader=meta.author_hash)
    shown = found[:limit]
    more = {"limit": str(limit), "before": shown[-1].id} if len(found) > limit else None
    return Page({post.id: post for post in shown}, next=more)


@service.query("GET", "/posts/{post_id}")
def post(post_id: Id, view: QueryView, meta: Meta) -> Post:
    """Show one post with its first comments."""
    found = view.post(post_id, reader=meta.author_hash)
    if found is None:
        raise NotFound(f"There is no post {post_id}.")
    return found


@service.stream("GET", "/live")
async def live(changes: Changes) -> AsyncIterator[ServerSent]:
    """Tell of posts and comments as they appear; a comment again when its status changes."""
    async for sequence, event in changes:
        match event:
            case PostCreated():
                data = event.model_dump(mode="json", exclude={"author_hash"})
                yield ServerSent("post", data, id=str(sequence))
            case CommentCreated() | CommentUpdated():
                comment = await changes.read(QueryView.comment, event.id)
                if comment is not None:
                    data = {"post_id": event.post_id, **comment.model_dump(mode="json")}
                    yield ServerSent("comment", data, id=str(sequence))
