"""What the operator of the blog decides about comments of any author.

A verdict is appended together with the update that follows from it, so that it holds from the response
on, even while the reactions of its post wait.
"""

from blog.core.contract import Meta
from blog.core.decision import Append, Unchanged
from blog.core.errors import NotFound
from blog.core.ids import Id
from blog.core.operator import OPERATOR, Reason
from blog.services.comments.events import CommentDeleted, CommentUpdated
from blog.services.comments.models import CONFLICTING, CommentRecord
from blog.services.comments.view import CommentsView
from blog.services.moderation.events import CommentModerated, Verdict


def delete_comment(
    comment_id: Id, view: CommentsView, meta: Meta, reason: Reason = None
) -> Append | Unchanged:
    """Delete comments of any author."""
    found = _find(view, comment_id)
    if found.comment is None:
        return Unchanged(sequence=found.sequence)
    event = CommentDeleted(
        id=comment_id,
        post_id=found.comment.post_id,
        deleted_at=meta.now,
        by=OPERATOR,
        reason=reason,
    )
    return Append([event], expect=view.applied, types=CONFLICTING, before=found.comment)


def reject_comment(comment_id: Id, view: CommentsView, reason: Reason = None) -> Append | Unchanged:
    """Hide comments from all but their authors, whatever moderation decides."""
    return _moderate(comment_id, "rejected", view, reason)


def approve_comment(comment_id: Id, view: CommentsView, reason: Reason = None) -> Append | Unchanged:
    """Show comments to everybody, whatever moderation decides."""
    return _moderate(comment_id, "approved", view, reason)


def _moderate(
    comment_id: str, status: Verdict, view: CommentsView, reason: str | None
) -> Append | Unchanged:
    found = _find(view, comment_id)
    comment = found.comment
    if comment is None:
        raise NotFound(f"The comment {comment_id} is deleted.")
    if found.override == comment.status == status:
        return Unchanged(sequence=comment.sequence)
    verdict = CommentModerated(
        id=comment_id,
        post_id=comment.post_id,
        content=comment.content or "",
        status=status,
        reason=reason,
        by=OPERATOR,
    )
    follows = CommentUpdated(
        id=comment_id, post_id=comment.post_id, content=verdict.content, status=status
    )
    return Append([verdict, follows], expect=view.applied, types=CONFLICTING, before=comment)


def _find(view: CommentsView, comment_id: str) -> CommentRecord:
    found = view.record(comment_id)
    if found is None:
        raise NotFound(f"There is no comment {comment_id}.")
    return found
