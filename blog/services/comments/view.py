"""The comments' own view: which posts there are, and every comment with its status."""

from collections.abc import Sequence

from blog.core.authorship import Owned
from blog.services.comments.events import Status
from blog.services.comments.models import Comment, Standing
from blog.services.comments.rows import CommentRows


class CommentsView(CommentRows):
    """Comments as their authors, readers (an author's hash) and operators may see them."""

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

    def standing(self, comment_id: str) -> Standing | None:
        """Tell where a comment stands, whichever post it is on; None if there never was one."""
        row = self.db.execute(
            "SELECT decided, deleted OR post_id NOT IN (SELECT id FROM posts),"  # noqa: S608 - no input in it
            f" content, {_SHOWN} FROM comments WHERE id = ?",
            (comment_id,),
        ).fetchone()
        if row is None:
            return None
        decided, is_gone, *shown = row
        comment = _comment(shown)
        return Standing(None if is_gone else comment, comment.sequence, decided)

    def decided(self, comment_id: str, content: str) -> Status | None:
        """Return what an operator decided about these words of a comment, if it still says them."""
        row = self.db.execute(
            "SELECT decided FROM comments WHERE id = ? AND content = ?", (comment_id, content)
        ).fetchone()
        return row[0] if row else None

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
