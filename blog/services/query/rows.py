"""The rows of the read side, and how each event changes them. How they are read is in `view.py`.

`number` is the sequence of what made a row: the order of the log, never given twice. What was deleted
keeps its number in `gone`, so that a reader who was there can go on paging.
"""

import sqlite3

from blog.core.view import View, applies
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited, CommentUpdated
from blog.services.posts.events import PostCreated, PostDeleted, PostEdited


class QueryRows(View):
    """Posts, their comments, and an index of the posts' words.

    Search looks at posts only: they are what it lists, a comment far down a thread would not be in the
    response, and an index of comments would cost every verdict a second write. So the words of a
    comment that is not approved cannot be found, however the search is put.
    """

    schema = """
    CREATE TABLE posts (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      title TEXT NOT NULL,
      body TEXT NOT NULL,
      author TEXT NOT NULL,
      author_hash TEXT,
      created_at TEXT NOT NULL,
      edited_at TEXT,
      sequence INTEGER NOT NULL      -- of its author's last write
    ) STRICT;
    CREATE TABLE comments (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      post INTEGER NOT NULL,         -- its number
      content TEXT NOT NULL,
      author TEXT NOT NULL,
      author_hash TEXT,
      status TEXT NOT NULL,
      created_at TEXT NOT NULL,
      edited_at TEXT,
      sequence INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX comments_of_post ON comments (post);
    CREATE TABLE gone (
      id TEXT PRIMARY KEY,
      number INTEGER NOT NULL,
      post INTEGER                   -- that a comment belonged to; NULL for a post
    ) STRICT, WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5 (
      title, body, content='posts', content_rowid='number', tokenize='unicode61 remove_diacritics 2'
    );
    -- the text stays in posts: the index has to be told what it was (FTS5, external content tables)
    CREATE TRIGGER post_added AFTER INSERT ON posts BEGIN
      INSERT INTO words (rowid, title, body) VALUES (new.number, new.title, new.body);
    END;
    CREATE TRIGGER post_edited AFTER UPDATE OF title, body ON posts BEGIN
      INSERT INTO words (words, rowid, title, body)
        VALUES ('delete', old.number, old.title, old.body);
      INSERT INTO words (rowid, title, body) VALUES (new.number, new.title, new.body);
    END;
    CREATE TRIGGER post_deleted AFTER DELETE ON posts BEGIN
      INSERT INTO words (words, rowid, title, body)
        VALUES ('delete', old.number, old.title, old.body);
    END;
    """

    @applies(PostCreated)
    def add_post(self, db: sqlite3.Connection, event: PostCreated) -> None:
        """Keep the post."""
        row = event.model_dump(mode="json") | {"sequence": self.sequence}
        db.execute(
            "INSERT INTO posts (number, id, title, body, author, author_hash, created_at, sequence)"
            " VALUES (:sequence, :id, :title, :body, :author, :author_hash, :created_at, :sequence)",
            row,
        )

    @applies(PostEdited)
    def edit_post(self, db: sqlite3.Connection, event: PostEdited) -> None:
        """Store the post's new content."""
        db.execute(
            "UPDATE posts SET title = ?, body = ?, edited_at = ?, sequence = ? WHERE id = ?",
            (event.title, event.body, event.edited_at.isoformat(), self.sequence, event.id),
        )

    @applies(PostDeleted)
    def delete_post(self, db: sqlite3.Connection, event: PostDeleted) -> None:
        """Forget the post and its comments; keep its number."""
        db.execute("INSERT INTO gone (id, number) SELECT id, number FROM posts WHERE id = ?", (event.id,))
        db.execute(
            "DELETE FROM comments WHERE post = (SELECT number FROM posts WHERE id = ?)", (event.id,)
        )
        db.execute("DELETE FROM posts WHERE id = ?", (event.id,))

    @applies(CommentCreated)
    def add_comment(self, db: sqlite3.Connection, event: CommentCreated) -> None:
        """Keep the comment, pending; unless its post was deleted while it was written."""
        db.execute(
            "INSERT INTO comments"
            " (number, id, post, content, author, author_hash, status, created_at, sequence)"
            " SELECT ?1, ?2, number, ?3, ?4, ?5, 'pending', ?6, ?1 FROM posts WHERE id = ?7",
            (
                self.sequence,
                event.id,
                event.content,
                event.author,
                event.author_hash,
                event.created_at.isoformat(),
                event.post_id,
            ),
        )

    @applies(CommentEdited)
    def edit_comment(self, db: sqlite3.Connection, event: CommentEdited) -> None:
        """Store the comment's new content, which is moderated again."""
        db.execute(
            "UPDATE comments SET content = ?, edited_at = ?, sequence = ?, status = 'pending'"
            " WHERE id = ?",
            (event.content, event.edited_at.isoformat(), self.sequence, event.id),
        )

    @applies(CommentUpdated)
    def update_comment(self, db: sqlite3.Connection, event: CommentUpdated) -> None:
        """Store the status, unless it is about content that was edited meanwhile."""
        db.execute(
            "UPDATE comments SET status = ? WHERE id = ? AND content = ?",
            (event.status, event.id, event.content),
        )

    @applies(CommentDeleted)
    def delete_comment(self, db: sqlite3.Connection, event: CommentDeleted) -> None:
        """Forget the comment; keep its number."""
        db.execute("INSERT INTO gone SELECT id, number, post FROM comments WHERE id = ?", (event.id,))
        db.execute("DELETE FROM comments WHERE id = ?", (event.id,))
