"""What the pages' forms send. Checked by the services that take it; here only read.

`key` is made with the page: a form that is sent twice is one post, one comment. It is a secret: who
has no author's token yet gets one that is made from it, the same for both sendings.
"""

import secrets
from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.ids import sha256_hex

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{20,64}$")]
Short = Annotated[str, Field(max_length=2_000)]


def new_key() -> str:
    """Make the key of a new form: 192 random bits."""
    return secrets.token_urlsafe(24)


def first_token(key: str) -> str:
    """Make the author's token for who sends the form of this key and has none."""
    return sha256_hex(f"author of {key}")


class PostForm(BaseModel):
    """A post as somebody types it."""

    key: Key = Field(default_factory=new_key)
    title: Short = ""
    body: str = ""
    author: Short = ""


class CommentForm(BaseModel):
    """A comment as somebody types it."""

    key: Key = Field(default_factory=new_key)
    content: str = ""
    author: Short = ""
