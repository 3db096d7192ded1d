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
    """Its author gave a post another title and body."""

    id: str
    title: str
    body: str = ""
    edited_at: datetime


class PostDeleted(Event, key="id"):
    """A post is gone, and with it what was said about it: its author took it back.

    Or somebody else took it down: `by` says who (`operator`), and `reason` why.
    """

    id: str
    deleted_at: datetime
    by: str | None = Field(default=None, exclude_if=is_absent)
    reason: str | None = Field(default=None, exclude_if=is_absent)
