"""The comments' own view: which posts there are, and every comment with its status."""

import sqlite3
from datetime import datetime

from pydantic import BaseModel

from blog.core.view import View, applies
from blog.services.comments.events import CommentCreated, CommentUpdated, Status
from blog.services.posts.events import PostCreated


class Comment(BaseModel):
    """A comment as readers see it: until it is approved, only its author sees the content."""

    id: str
    post_id: str
    content: str | None
    author: str
    status: Status
    created_at: datetime


class CommentsView(View):
    """Posts by id, comments by post in the order in which they were written."""

    schema = """
    CREATE TABLE posts (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE comments (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      post_id TEXT NOT NULL,
      content TEXT NOT NULL,
      author TEXT NOT NULL,
      author_hash TEXT,
      status TEXT NOT NULL,
      created_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX comments_of_post ON comments (post_id, number);
    """

    @applies(PostCreated)
    def add_post(self, db: sqlite3.Connection, event: PostCreated) -> None:
        """Know that the post exists."""
        db.execute("INSERT INTO posts VALUES (?)", (event.id,))

    @applies(CommentCreated)
    def add_comment(self, db: sqlite3.Connection, event: CommentCreated) -> None:
        """Keep the comment, pending."""
        db.execute(
            "INSERT INTO comments (id, post_id, content, author, author_hash, status, created_at)"
            " VALUES (?, ?, ?, ?, ?, 'pending', ?)",
            (
                event.id,
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

    def has_post(self, post_id: str) -> bool:
        """Tell whether the post exists."""
        row = self.db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone()
        return row is not None

    def comments_of(self, post_id: str, *, reader: str | None, after: str, limit: int) -> list[Comment]:
        """List a post's comments, oldest first, from behind the comment `after`, for `reader`."""
        rows = self.db.execute(
            "SELECT id, post_id, author, status, created_at,"
            " CASE WHEN status = 'approved' OR author_hash = ? THEN content END"
            " FROM comments WHERE post_id = ? AND number >"
            " coalesce((SELECT number FROM comments WHERE id = ?), 0) ORDER BY number LIMIT ?",
            (reader, post_id, after, limit),
        )
        names = ("id", "post_id", "author", "status", "created_at", "content")
        return [Comment.model_validate(dict(zip(names, row, strict=True))) for row in rows]
