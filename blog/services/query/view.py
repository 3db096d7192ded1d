"""The read side: posts newest first, each with its comments."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel

from blog.core.view import View, applies
from blog.services.comments.events import CommentCreated, CommentUpdated, Status
from blog.services.posts.events import PostCreated

SHOWN_COMMENTS = 100
"""Comments that come with a post; more are at `/posts/{id}/comments`."""


class Comment(BaseModel):
    """A comment in its post: until it is approved, only its author sees the content."""

    id: str
    content: str | None
    author: str
    status: Status
    created_at: datetime


class Post(BaseModel):
    """A post with its first comments, oldest first."""

    id: str
    title: str
    body: str
    author: str
    created_at: datetime
    comments: list[Comment] = []


class QueryView(View):
    """Posts and comments in the order of the log; `number` is that order."""

    schema = """
    CREATE TABLE posts (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      title TEXT NOT NULL,
      body TEXT NOT NULL,
      author TEXT NOT NULL,
      created_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE comments (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      post_id TEXT NOT NULL,
      place INTEGER NOT NULL,        -- of the comment in its post, from 1
      content TEXT NOT NULL,
      author TEXT NOT NULL,
      author_hash TEXT,
      status TEXT NOT NULL,
      created_at TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX comments_of_post ON comments (post_id, place);
    """

    @applies(PostCreated)
    def add_post(self, db: sqlite3.Connection, event: PostCreated) -> None:
        """Keep the post."""
        db.execute(
            "INSERT INTO posts (id, title, body, author, created_at) VALUES (?, ?, ?, ?, ?)",
            (event.id, event.title, event.body, event.author, event.created_at.isoformat()),
        )

    @applies(CommentCreated)
    def add_comment(self, db: sqlite3.Connection, event: CommentCreated) -> None:
        """Keep the comment, pending, in the next place of its post."""
        db.execute(
            "INSERT INTO comments"
            " (id, post_id, place, content, author, author_hash, status, created_at) VALUES (?, ?,"
            " 1 + coalesce((SELECT max(place) FROM comments WHERE post_id = ?), 0),"
            " ?, ?, ?, 'pending', ?)",
            (
                event.id,
                event.post_id,
                event.post_id,
                event.content,
                event.author,
                event.author_hash,
                event.created_at.isoformat(),
            ),
        )

    @applies(CommentUpdated)
    def update_comment(self, db: sqlite3.Connection, event: CommentUpdated) -> None:
        """Take over status and content."""
        db.execute(
            "UPDATE comments SET status = ?, content = ? WHERE id = ?",
            (event.status, event.content, event.id),
        )

    def posts(self, *, before: str | None, limit: int, reader: str | None) -> list[Post]:
        """List posts, newest first, from behind the post `before`, as `reader` may see them."""
        rows = self.db.execute(
            "SELECT id, title, body, author, created_at FROM posts"
            " WHERE ?1 IS NULL OR number < (SELECT number FROM posts WHERE id = ?1)"
            " ORDER BY number DESC LIMIT ?2",
            (before, limit),
        )
        return self._with_comments(rows, reader)

    def post(self, post_id: str, *, reader: str | None) -> Post | None:
        """Find one post, as `reader` may see it."""
        rows = self.db.execute(
            "SELECT id, title, body, author, created_at FROM posts WHERE id = ?", (post_id,)
        )
        return next(iter(self._with_comments(rows, reader)), None)

    def comment(self, comment_id: str) -> Comment | None:
        """Find one comment, as everybody may see it."""
        rows = self.db.execute(f"{_COMMENT} WHERE id = ?", (None, comment_id))
        return next((comment for _, comment in map(_as_comment, rows)), None)

    def _with_comments(self, rows: Iterable[Sequence[object]], reader: str | None) -> list[Post]:
        names = ("id", "title", "body", "author", "created_at")
        posts = [Post.model_validate(dict(zip(names, row, strict=True))) for row in rows]
        by_id = {post.id: post for post in posts}
        marks = ",".join("?" * len(posts))
        comments = self.db.execute(
            f"{_COMMENT} WHERE post_id IN ({marks}) AND place <= ? ORDER BY post_id, place",
            (reader, *by_id, SHOWN_COMMENTS),
        )
        for post_id, comment in map(_as_comment, comments):
            by_id[post_id].comments.append(comment)
        return posts


_COMMENT = (
    "SELECT post_id, id, author, status, created_at,"
    " CASE WHEN status = 'approved' OR author_hash = ? THEN content END FROM comments"
)


def _as_comment(row: Sequence[str]) -> tuple[str, Comment]:
    names = ("id", "author", "status", "created_at", "content")
    return row[0], Comment.model_validate(dict(zip(names, row[1:], strict=True)))
