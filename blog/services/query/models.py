"""What readers are shown. Who wrote something is only ever told to themselves (`mine`)."""

from datetime import datetime

from pydantic import BaseModel, Field

from blog.services.comments.events import Status


class Shown(BaseModel):
    """What posts and comments have in common.

    `sequence` is that of its author's last write: send it along with a change, and the change is
    refused if there was another one meanwhile. `mine` is there for its author only.
    """

    id: str
    author: str
    created_at: datetime
    edited_at: datetime | None = None
    sequence: int
    mine: bool = Field(default=False, exclude_if=lambda mine: not mine)


class Comment(Shown):
    """A comment: until it is approved, only its author sees the content."""

    content: str | None
    status: Status


class Post(Shown):
    """A post with its first comments, oldest first."""

    title: str
    body: str
    comments: list[Comment] = []
