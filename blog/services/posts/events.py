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
