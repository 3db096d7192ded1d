"""What moderation decides."""

from typing import Literal

from pydantic import Field

from blog.core.events import Event
from blog.core.operator import is_absent

Verdict = Literal["approved", "rejected"]


class CommentModerated(Event, key="post_id"):
    """A comment was looked at; `reason` says why, None where there is nothing to say.

    `by` says who decided where moderation did not: an `operator`, whose word counts until the comment
    says something else.
    """

    id: str
    post_id: str
    content: str
    status: Verdict
    reason: str | None = None
    by: str | None = Field(default=None, exclude_if=is_absent)
