"""What moderation decides."""

from typing import Literal

from pydantic import Field

from blog.core.events import Event
from blog.core.operator import is_absent

Verdict = Literal["approved", "rejected"]


class CommentModerated(Event, key="post_id"):
    """A comment was moderated; `reason` explains the verdict, None without one.

    `by` is the `operator` if not moderation decided: that verdict overrides moderation's until the
    comment is edited.
    """

    id: str
    post_id: str
    content: str
    status: Verdict
    reason: str | None = None
    by: str | None = Field(default=None, exclude_if=is_absent)
