"""What the pages' forms send. Checked by the services that take it; here only read.

`key` is made with the page: a form that is sent twice is one post, one comment.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.ids import Id

Short = Annotated[str, Field(max_length=2_000)]


class PostForm(BaseModel):
    """A post as somebody types it."""

    key: Id
    title: Short = ""
    body: str = ""
    author: Short = ""


class CommentForm(BaseModel):
    """A comment as somebody types it."""

    key: Id
    content: str = ""
    author: Short = ""
