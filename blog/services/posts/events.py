"""What happens to posts."""

from datetime import datetime

from pydantic import Field

from blog.core.events import Event
from blog.core.operator import is_absent


class PostCreated(Event, key="id"):
    """A post was written. `author_hash` is the SHA-256 of the writer's token; it is never shown."""

    id: str
    title: str
    body: str = ""
    author: str = ""
    created_at: datetime
    author_hash: str | None = None


class PostEdited(Event, key="id"):
    """Its author changed title and body of a post."""

    id: str
    title: str
    body: str = ""
    edited_at: datetime


class PostDeleted(Event, key="id"):
    """A post was deleted, and with it its comments: by its author.

    Or by somebody else: then `by` names who (`operator`), and `reason` why.
    """

    id: str
    deleted_at: datetime
    by: str | None = Field(default=None, exclude_if=is_absent)
    reason: str | None = Field(default=None, exclude_if=is_absent)
