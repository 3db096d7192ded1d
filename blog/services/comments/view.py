"""The comments' own view: which posts there are, and every comment with its status."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from blog.core.authorship import Owned
from blog.core.view import View, applies
from blog.services.comments.events import (
    CommentCreated,
    CommentDeleted,
    CommentEdited,
    CommentUpdated,
    Status,
)
from blog.services.posts.events import PostCreated, PostDeleted


class Comment(BaseModel):
    """A comment as readers see it: until it is approved, only its author sees the content.

    `sequence` names the version: where the log has its author's last write.
    """

    id: str
    post_id: str
    content: str | None
    author: str
    status: Status
    created_at: datetime
    edited_at: datetime | None = None
    sequence: int


class CommentsView(View):
    """Posts by id, comments by post in the order in which they were written.

    Of a deleted comment its place and whose it was stay known: a reader may stand behind it.
    """

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
      created_at TEXT NOT NULL,
      edited_at TEXT,
      sequence INTEGER NOT NULL,     -- of its author's last write
      deleted INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX comments_of_post ON comments (post_id, number) WHERE NOT deleted;
    """

    @applies(PostCreated)
    def add_post(self, db: sqlite3.Connection, event: PostCreated) -> None:
        """Know that the post exists."""
        db.execute("INSERT INTO posts VALUES (?)", (event.id,))

    @applies(PostDeleted)
    def delete_post(self, db: sqlite3.Connection, event: PostDeleted) -> None:
        """Know it no more. Its comments, however many, are out of reach with it."""
        db.execute("DELETE FROM posts WHERE id = ?", (event.id,))

    @applies(CommentCreated)
    def add_comment(self, db: sqlite3.Connection, event: CommentCreated) -> None:
        """Keep the comment, pending."""
        db.execute(
            "INSERT INTO comments"
            " (id, post_id, content, author, author_hash, status, created_at, sequence) VALUES"
            " (:id, :post_id, :content, :author, :author_hash, 'pending', :created_at, :sequence)",
            {**event.model_dump(mode="json"), "sequence": self.sequence},
        )

    @applies(CommentEdited)
    def edit_comment(self, db: sqlite3.Connection, event: CommentEdited) -> None:
        """Take over the content, pending again."""
        db.execute(
            "UPDATE comments SET content = :content, edited_at = :edited_at, sequence = :sequence,"
            " status = 'pending' WHERE id = :id AND NOT deleted",
            {**event.model_dump(mode="json"), "sequence": self.sequence},
        )

    @applies(CommentUpdated)
    def update_comment(self, db: sqlite3.Connection, event: CommentUpdated) -> None:
        """Take over the status, if it is about what the comment says now: it may have been edited."""
        db.execute(
            "UPDATE comments SET status = ? WHERE id = ? AND content = ?",
            (event.status, event.id, event.content),
        )

    @applies(CommentDeleted)
    def delete_comment(self, db: sqlite3.Connection, event: CommentDeleted) -> None:
        """Forget what it said."""
        db.execute(
            "UPDATE comments SET content = '', author = '', deleted = 1, sequence = ?"
            " WHERE id = ? AND NOT deleted",
            (self.sequence, event.id),
        )

    def has_post(self, post_id: str) -> bool:
        """Tell whether the post exists."""
        row = self.db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone()
        return row is not None

    def find(self, post_id: str, comment_id: str) -> Owned[Comment] | None:
        """Find a comment of a post that exists, or that there was one."""
        row = self.db.execute(
            f"SELECT author_hash, deleted, content, {_SHOWN} FROM comments"  # noqa: S608 - no input in it
            " WHERE id = ? AND post_id = (SELECT id FROM posts WHERE id = ?)",
            (comment_id, post_id),
        ).fetchone()
        if row is None:
            return None
        author_hash, deleted, *shown = row
        comment = _comment(shown)
        return Owned(None if deleted else comment, author_hash, comment.sequence)

    def comments_of(self, post_id: str, *, reader: str | None, after: str, limit: int) -> list[Comment]:
        """List a post's comments, oldest first, from behind the comment `after`, for `reader`."""
        rows = self.db.execute(
            "SELECT CASE WHEN status = 'approved' OR author_hash = ? THEN content END,"  # noqa: S608 - no input in it
            f" {_SHOWN} FROM comments WHERE post_id = ? AND NOT deleted AND number >"
            " coalesce((SELECT number FROM comments WHERE id = ?), 0) ORDER BY number LIMIT ?",
            (reader, post_id, after, limit),
        )
        return [_comment(row) for row in rows]


_NAMES = ("id", "post_id", "author", "status", "created_at", "edited_at", "sequence")
_SHOWN = ", ".join(_NAMES)


def _comment(row: Sequence[object]) -> Comment:
    """Make a comment of its content and the columns `_SHOWN`."""
    return Comment.model_validate(dict(zip(("content", *_NAMES), row, strict=True)))
