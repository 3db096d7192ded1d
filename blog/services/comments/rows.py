"""The rows of the comments, and how each event changes them. How they are read is in `view.py`."""

import sqlite3

from blog.core.operator import OPERATOR
from blog.core.view import View, applies
from blog.services.comments.events import (
    CommentCreated,
    CommentDeleted,
    CommentEdited,
    CommentUpdated,
)
from blog.services.moderation.events import CommentModerated
from blog.services.posts.events import PostCreated, PostDeleted


class CommentRows(View):
    """Posts by id, comments by post in the order in which they were written.

    The position and the author of a deleted comment stay known: a reader may page on from it.
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
      decided TEXT,                  -- by an operator, about what it says now
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
        """Forget the post. Its comments, however many, are out of reach with it."""
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
        """Store the new content, pending again."""
        db.execute(
            "UPDATE comments SET content = :content, edited_at = :edited_at, sequence = :sequence,"
            " status = 'pending', decided = NULL WHERE id = :id AND NOT deleted",
            {**event.model_dump(mode="json"), "sequence": self.sequence},
        )

    @applies(CommentModerated)
    def decide(self, db: sqlite3.Connection, event: CommentModerated) -> None:
        """Store an operator's verdict: moderation may be late with its own on the same content."""
        if event.by == OPERATOR:
            db.execute(
                "UPDATE comments SET decided = ? WHERE id = ? AND content = ? AND NOT deleted",
                (event.status, event.id, event.content),
            )

    @applies(CommentUpdated)
    def update_comment(self, db: sqlite3.Connection, event: CommentUpdated) -> None:
        """Store the status, if it is about the current content: it may have been edited."""
        db.execute(
            "UPDATE comments SET status = ? WHERE id = ? AND content = ?",
            (event.status, event.id, event.content),
        )

    @applies(CommentDeleted)
    def delete_comment(self, db: sqlite3.Connection, event: CommentDeleted) -> None:
        """Forget its content."""
        db.execute(
            "UPDATE comments SET content = '', author = '', deleted = 1, sequence = ?"
            " WHERE id = ? AND NOT deleted",
            (self.sequence, event.id),
        )
