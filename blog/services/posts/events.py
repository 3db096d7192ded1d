"""What happens to posts."""

from datetime import datetime

from blog.core.events import Event


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
    """Its author took a post back, and with it what was said about it."""

    id: str
    deleted_at: datetime
