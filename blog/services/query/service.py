"""Query: posts with their comments, as readers see them, and what appears as it appears."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from pydantic import Field

from blog.core.contract import Applied, Changes, Meta, Page, ServerSent, Service
from blog.core.errors import Invalid, NotFound
from blog.core.ids import Id
from blog.core.text import Line
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.query.feed import Feed, feed_of
from blog.services.query.models import Comment, Post
from blog.services.query.view import QueryView

FEED_LENGTH = 20

Words = Annotated[Line, Field(max_length=200)]

service = Service("query", view=QueryView)


@service.query("GET", "/posts", cache=True)
def posts(
    view: QueryView,
    meta: Meta,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    before: Id | None = None,
    search: Words | None = None,
) -> Page:
    """List posts with their comments, newest first, as a map by id; with `search`, those that match."""
    below = None if before is None else view.number_of_post(before)
    if before is not None and below is None:
        raise Invalid(f"before: there is no post {before}")
    found, has_more = view.posts(limit=limit, reader=meta.author_hash, below=below, search=search)
    more = {"limit": str(limit), "before": found[-1].id} if has_more else None
    if more and search is not None:
        more["search"] = search
    return Page({post.id: post for post in found}, next=more)


@service.query("GET", "/posts/{post_id}", cache=True)
def post(
    post_id: Id,
    view: QueryView,
    meta: Meta,
    after_comment: Id | None = None,
    behind: Id | None = None,
) -> Post:
    """Show one post with its first comments, or those after `after_comment` (`behind`: its old name)."""
    before = after_comment or behind
    number = 0 if before is None else view.number_of_comment(before)
    if number is None:
        name = "after_comment" if after_comment else "behind"
        raise Invalid(f"{name}: there is no comment {before}")
    found = view.post(post_id, reader=meta.author_hash, after=number)
    if found is None:
        raise NotFound(f"There is no post {post_id}.")
    return found


@service.query("GET", "/posts/{post_id}/comments/{comment_id}")
def comment(post_id: Id, comment_id: Id, view: QueryView, meta: Meta) -> Comment:
    """Show one comment."""
    found = view.comment_of(post_id, comment_id, meta.author_hash)
    if found is None:
        raise NotFound(f"There is no comment {comment_id}.")
    return found


@service.query("GET", "/feed.atom", cache=True)
def feed(view: QueryView, meta: Meta) -> Feed:
    """Show the newest posts as an Atom feed."""
    newest, _ = view.posts(limit=FEED_LENGTH, comments=0)
    return feed_of(newest, meta.base_url)


@service.stream("GET", "/live")
async def live(changes: Changes) -> AsyncIterator[ServerSent]:
    """Send posts and comments as they appear, change and go, as everybody may see them."""
    async for change in changes:
        event = await _server_sent_event(change, changes)
        if event is not None:
            name, data = event
            yield ServerSent(name, data, change.sequence)


async def _server_sent_event(change: Applied, changes: Changes) -> tuple[str, dict[str, Any]] | None:
    """Make name and data of an event; None for what is gone by now: its deletion follows."""
    match change.event:
        case PostCreated(id=id_) | PostEdited(id=id_):
            written = await changes.read(QueryView.post_without_comments, id_)
            return ("post", written.model_dump(mode="json", exclude={"comments"})) if written else None
        case CommentCreated() | CommentEdited() | CommentUpdated() as event:
            comment = await changes.read(QueryView.comment, event.id)
            if comment is None:
                return None
            return "comment", {"post_id": event.post_id, **comment.model_dump(mode="json")}
        case PostDeleted(id=id_):
            return "post-deleted", {"id": id_}
        case CommentDeleted(id=id_, post_id=post_id):
            return "comment-deleted", {"id": id_, "post_id": post_id}
    return None
