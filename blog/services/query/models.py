"""What readers are shown. Only its author learns who wrote something (`mine`)."""

from datetime import datetime

from pydantic import BaseModel, Field

from blog.services.comments.events import Status


class Entry(BaseModel):
    """What posts and comments have in common.

    `sequence` is that of its author's last write: a change that sends it is rejected if there was
    another one meanwhile. `mine` is present for its author only.
    """

    id: str
    author: str
    created_at: datetime
    edited_at: datetime | None = None
    sequence: int
    mine: bool = Field(default=False, exclude_if=lambda mine: not mine)


class Comment(Entry):
    """A comment: until it is approved, only its author sees the content."""

    content: str | None
    status: Status


class Post(Entry):
    """A post with its first comments, oldest first."""

    title: str
    body: str
    comments: list[Comment] = []
