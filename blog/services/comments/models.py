"""What readers and operators are shown of a comment."""

from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel

from blog.services.comments.events import Status


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


class Standing(NamedTuple):
    """Where a comment stands: None for `comment` once it, or its post, is deleted.

    `sequence` names the version; `decided` is what an operator decided about what it says now.
    """

    comment: Comment | None
    sequence: int
    decided: Status | None
