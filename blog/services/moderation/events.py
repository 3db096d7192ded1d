"""What moderation decides."""

from typing import Literal

from blog.core.events import Event


class CommentModerated(Event, key="post_id"):
    """A comment was looked at; `reason` says why it was rejected, None if it was not."""

    id: str
    post_id: str
    content: str
    status: Literal["approved", "rejected"]
    reason: str | None = None
