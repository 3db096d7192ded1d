"""What happens to posts and comments, in few words, for tests of the read side."""

from datetime import UTC, datetime, timedelta

from blog.core.contract import Meta
from blog.core.ids import derived_id
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited
from blog.services.query.service import posts
from blog.services.query.view import QueryView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
POST, OTHER, COMMENT = derived_id("post"), derived_id("other"), derived_id("comment")
MINE, YOURS = "a" * 64, "b" * 64


def meta(author: str | None = None) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=NOW, author_hash=author, base_url="https://blog.example")


def written(id_: str = POST, title: str = "Hello", body: str = "", author: str = "Ann") -> PostCreated:
    """Give a post."""
    return PostCreated(id=id_, title=title, body=body, author=author, created_at=NOW, author_hash=MINE)


def rewritten(title: str, body: str = "", id_: str = POST) -> PostEdited:
    """Give other words to it."""
    return PostEdited(id=id_, title=title, body=body, edited_at=LATER)


def unwritten(id_: str = POST) -> PostDeleted:
    """Take it back."""
    return PostDeleted(id=id_, deleted_at=LATER)


def said(id_: str = COMMENT, content: str = "hi", post_id: str = POST) -> CommentCreated:
    """Give a pending comment."""
    return CommentCreated(id=id_, post_id=post_id, content=content, created_at=NOW, author_hash=MINE)


def resaid(content: str, id_: str = COMMENT) -> CommentEdited:
    """Give other words to it."""
    return CommentEdited(id=id_, post_id=POST, content=content, edited_at=LATER)


def settled(status: str, content: str = "hi", id_: str = COMMENT) -> CommentUpdated:
    """Give moderation's verdict on these words."""
    return CommentUpdated.model_validate(
        {"id": id_, "post_id": POST, "content": content, "status": status}
    )


def unsaid(id_: str = COMMENT) -> CommentDeleted:
    """Take it back."""
    return CommentDeleted(id=id_, post_id=POST, deleted_at=LATER)


def found(view: QueryView, search: str) -> list[str]:
    """List the titles of the posts that are found."""
    return [item.title for item in posts(view, meta(), search=search).content.values()]
