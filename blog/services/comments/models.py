"""What readers and operators are shown of a comment."""

from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel

from blog.services.comments.events import CommentDeleted, CommentEdited, Status
from blog.services.posts.events import PostDeleted

CONFLICTING = (CommentEdited, CommentDeleted, PostDeleted)
"""Events that a decision about a comment must not miss; new comments and verdicts do not change it."""


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


class CommentRecord(NamedTuple):
    """A comment that was written: `comment` is None once it, or its post, is deleted.

    `sequence` names the version; `override` is the operator's verdict on its current content.
    """

    comment: Comment | None
    sequence: int
    override: Status | None
