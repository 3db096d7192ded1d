"""What happens to comments. Their key is the post, so that a thread keeps its order."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from blog.core.events import Event
from blog.core.operator import is_absent

Status = Literal["pending", "approved", "rejected"]


class CommentCreated(Event, key="post_id"):
    """A comment was written. `author_hash` is the SHA-256 of the writer's token; never shown."""

    id: str
    post_id: str
    content: str
    author: str = ""
    created_at: datetime
    author_hash: str | None = None


class CommentEdited(Event, key="post_id"):
    """Its author changed the content: it is moderated again."""

    id: str
    post_id: str
    content: str
    edited_at: datetime


class CommentDeleted(Event, key="post_id"):
    """A comment was deleted by its author.

    Or by somebody else: then `by` names who (`operator`), and `reason` why.
    """

    id: str
    post_id: str
    deleted_at: datetime
    by: str | None = Field(default=None, exclude_if=is_absent)
    reason: str | None = Field(default=None, exclude_if=is_absent)


class CommentUpdated(Event, key="post_id"):
    """The status of a comment has changed."""

    id: str
    post_id: str
    content: str
    status: Status
