"""The posts' own view: what was written, by whom, and which version of it there is."""

import sqlite3
from datetime import datetime

from pydantic import BaseModel

from blog.core.authorship import Owned
from blog.core.view import View, applies
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited


class Post(BaseModel):
    """What the writer gets back. `sequence` names this version of it."""

    id: str
    title: str
    body: str
    author: str
    created_at: datetime
    edited_at: datetime | None = None
    sequence: int


class PostsView(View):
    """Posts by id. Of a deleted one it stays known whose it was."""

    schema = """
    CREATE TABLE posts (
      id TEXT PRIMARY KEY,
      title TEXT NOT NULL,
      body TEXT NOT NULL,
      author TEXT NOT NULL,
      created_at TEXT NOT NULL,
      edited_at TEXT,
      sequence INTEGER NOT NULL,     -- of its author's last write
      author_hash TEXT,
      deleted INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    """

    @applies(PostCreated)
    def add(self, db: sqlite3.Connection, event: PostCreated) -> None:
        """Keep the post."""
        db.execute(
            "INSERT INTO posts VALUES (:id, :title, :body, :author, :created_at, NULL, :sequence,"
            " :author_hash, 0)",
            {**event.model_dump(mode="json"), "sequence": self.sequence},
        )

    @applies(PostEdited)
    def edit(self, db: sqlite3.Connection, event: PostEdited) -> None:
        """Take over title and body."""
        db.execute(
            "UPDATE posts SET title = :title, body = :body, edited_at = :edited_at, sequence = :sequence"
            " WHERE id = :id AND NOT deleted",
            {**event.model_dump(mode="json"), "sequence": self.sequence},
        )

    @applies(PostDeleted)
    def delete(self, db: sqlite3.Connection, event: PostDeleted) -> None:
        """Forget its content."""
        db.execute(
            "UPDATE posts SET title = '', body = '', author = '', deleted = 1, sequence = ?"
            " WHERE id = ? AND NOT deleted",
            (self.sequence, event.id),
        )

    def find(self, post_id: str) -> Owned[Post] | None:
        """Find a post, also a deleted one."""
        row = self.db.execute(
            "SELECT author_hash, deleted, id, title, body, author, created_at, edited_at, sequence"
            " FROM posts WHERE id = ?",
            (post_id,),
        ).fetchone()
        if row is None:
            return None
        author_hash, deleted, *columns = row
        post = Post.model_validate(dict(zip(Post.model_fields, columns, strict=True)))
        return Owned(None if deleted else post, author_hash, post.sequence)
