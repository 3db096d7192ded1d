"""The comments' own view: which posts there are, and every comment with its status."""

from collections.abc import Sequence

from blog.core.authorship import Owned
from blog.services.comments.events import Status
from blog.services.comments.models import Comment, CommentRecord
from blog.services.comments.rows import CommentRows


class CommentsView(CommentRows):
    """Comments as their authors, readers (an author's hash) and operators may see them."""

    def has_post(self, post_id: str) -> bool:
        """Return whether the post exists."""
        row = self.db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone()
        return row is not None

    def find(self, post_id: str, comment_id: str) -> Owned[Comment] | None:
        """Find a comment of a post that exists, also a deleted one."""
        row = self.db.execute(
            f"SELECT author_hash, deleted, content, {_COLUMNS} FROM comments"  # noqa: S608 - no input in it
            " WHERE id = ? AND post_id = (SELECT id FROM posts WHERE id = ?)",
            (comment_id, post_id),
        ).fetchone()
        if row is None:
            return None
        author_hash, deleted, *columns = row
        comment = _comment(columns)
        return Owned(None if deleted else comment, author_hash, comment.sequence)

    def record(self, comment_id: str) -> CommentRecord | None:
        """Find a comment, whichever post it is on; None if there never was one."""
        row = self.db.execute(
            "SELECT decided, deleted OR post_id NOT IN (SELECT id FROM posts),"  # noqa: S608 - no input in it
            f" content, {_COLUMNS} FROM comments WHERE id = ?",
            (comment_id,),
        ).fetchone()
        if row is None:
            return None
        override, is_deleted, *columns = row
        comment = _comment(columns)
        return CommentRecord(None if is_deleted else comment, comment.sequence, override)

    def override(self, comment_id: str, content: str) -> Status | None:
        """Return the operator's verdict on this content of a comment, if it is still the current one."""
        row = self.db.execute(
            "SELECT decided FROM comments WHERE id = ? AND content = ?", (comment_id, content)
        ).fetchone()
        return row[0] if row else None

    def comments_of(self, post_id: str, *, reader: str | None, after: str, limit: int) -> list[Comment]:
        """List a post's comments, oldest first, after the comment `after`, for `reader`."""
        rows = self.db.execute(
            "SELECT CASE WHEN status = 'approved' OR author_hash = ? THEN content END,"  # noqa: S608 - no input in it
            f" {_COLUMNS} FROM comments WHERE post_id = ? AND NOT deleted AND number >"
            " coalesce((SELECT number FROM comments WHERE id = ?), 0) ORDER BY number LIMIT ?",
            (reader, post_id, after, limit),
        )
        return [_comment(row) for row in rows]


_FIELDS = ("id", "post_id", "author", "status", "created_at", "edited_at", "sequence")
_COLUMNS = ", ".join(_FIELDS)


def _comment(row: Sequence[object]) -> Comment:
    """Make a comment of its content and the columns `_COLUMNS`."""
    return Comment.model_validate(dict(zip(("content", *_FIELDS), row, strict=True)))
