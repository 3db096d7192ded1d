"""How the rows of the read side are read: by keyset pagination, so that every page costs the same."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from blog.services.query.models import Comment, Post
from blog.services.query.rows import QueryRows
from blog.services.query.search import as_match, must_have_fts5

SHOWN_COMMENTS = 100
"""Comments that come with a post; more follow after the last of them."""

_EVERYTHING = 2**63 - 1  # above every number
_POST = (
    "SELECT number, id, author, created_at, edited_at, sequence, coalesce(author_hash = ?1, 0),"
    " title, body FROM posts"
)
_POST_FIELDS = ("id", "author", "created_at", "edited_at", "sequence", "mine", "title", "body")
_NEWEST = "number < ?2 ORDER BY number DESC LIMIT ?3"
_MATCHING = (
    "number IN (SELECT rowid FROM words WHERE words MATCH ?4 AND rowid < ?2"
    " ORDER BY rowid DESC LIMIT ?3) ORDER BY number DESC"
)
_COMMENT = (
    "SELECT id, author, created_at, edited_at, sequence, coalesce(author_hash = ?1, 0), status,"
    " CASE WHEN status = 'approved' OR author_hash = ?1 THEN content END FROM comments"
)
_OF_POST = "post = (SELECT number FROM posts WHERE id = ?3)"
_COMMENT_FIELDS = ("id", "author", "created_at", "edited_at", "sequence", "mine", "status", "content")


class QueryView(QueryRows):
    """Posts newest first, each with its comments, as a `reader` (an author's hash) may see them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        must_have_fts5(db)
        super().__init__(db)

    def posts(
        self,
        *,
        limit: int,
        reader: str | None = None,
        below: int | None = None,
        search: str | None = None,
        comments: int = SHOWN_COMMENTS,
    ) -> tuple[list[Post], bool]:
        """List posts, newest first, below the number `below`; return whether there are more, too.

        With `search`, only those that have all these words, in title or body. Each comes with its
        first `comments`.
        """
        values: list[Any] = [reader, _EVERYTHING if below is None else below, limit + 1]
        which = _NEWEST
        if search is not None:
            which = _MATCHING
            values.append(as_match(search))
        rows = self.db.execute(f"{_POST} WHERE {which}", values).fetchall()
        return [self._post(row, reader, comments) for row in rows[:limit]], len(rows) > limit

    def post(
        self, post_id: str, *, reader: str | None = None, after: int = 0, comments: int = SHOWN_COMMENTS
    ) -> Post | None:
        """Find one post with its first `comments` after the number `after`."""
        row = self.db.execute(f"{_POST} WHERE id = ?2", (reader, post_id)).fetchone()
        return self._post(row, reader, comments, after) if row else None

    def post_without_comments(self, post_id: str) -> Post | None:
        """Find one post, without comments, as everybody may see it."""
        return self.post(post_id, comments=0)

    def comment(self, comment_id: str, reader: str | None = None) -> Comment | None:
        """Find one comment."""
        row = self.db.execute(f"{_COMMENT} WHERE id = ?2", (reader, comment_id)).fetchone()
        return _as_comment(row) if row else None

    def comment_of(self, post_id: str, comment_id: str, reader: str | None) -> Comment | None:
        """Find one comment of a post."""
        row = self.db.execute(
            f"{_COMMENT} WHERE id = ?2 AND {_OF_POST}",
            (reader, comment_id, post_id),
        ).fetchone()
        return _as_comment(row) if row else None

    def number_of_post(self, post_id: str) -> int | None:
        """Return the number of a post, also of a deleted one."""
        row = self.db.execute(
            "SELECT number FROM posts WHERE id = ?1"
            " UNION ALL SELECT number FROM gone WHERE id = ?1 AND post IS NULL",
            (post_id,),
        ).fetchone()
        return row[0] if row else None

    def number_of_comment(self, comment_id: str) -> int | None:
        """Return the number of a comment, also of a deleted one."""
        row = self.db.execute(
            "SELECT number FROM comments WHERE id = ?1"
            " UNION ALL SELECT number FROM gone WHERE id = ?1 AND post IS NOT NULL",
            (comment_id,),
        ).fetchone()
        return row[0] if row else None

    def _post(self, row: Sequence[Any], reader: str | None, comments: int, after: int = 0) -> Post:
        number, *values = row
        rows = self.db.execute(
            f"{_COMMENT} WHERE post = ?2 AND number > ?3 ORDER BY number LIMIT ?4",
            (reader, number, after, comments),
        )
        fields = dict(zip(_POST_FIELDS, values, strict=True))
        return Post.model_validate(fields | {"comments": [_as_comment(item) for item in rows]})


def _as_comment(row: Sequence[Any]) -> Comment:
    return Comment.model_validate(dict(zip(_COMMENT_FIELDS, row, strict=True)))
