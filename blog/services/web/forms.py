"""What the pages' forms send. Checked by the services that take it; here only read.

`key` is made with the page: a form that is sent twice is one post, one comment. It is a secret: who
has no author's token yet gets one that is made from it, the same for both sendings. `sequence` is the
version that the author saw of what is changed, `behind` the comment before the page of the thread.
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from blog.core.errors import BlogError, TooMany, Unavailable
from blog.core.ids import Id, sha256_hex

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{20,64}$")]
Short = Annotated[str, Field(max_length=2_000)]
Sequence = Annotated[int, Field(ge=0)] | None


def new_key() -> str:
    """Make the key of a new form: 192 random bits."""
    return secrets.token_urlsafe(24)


def first_token(key: str) -> str:
    """Make the author's token for who sends the form of this key and has none."""
    return sha256_hex(f"author of {key}")


class Form(BaseModel):
    """What every form has; one that only asks whether to do something has no more."""

    key: Key = Field(default_factory=new_key)
    sequence: Sequence = None
    behind: Id | None = None


class PostForm(Form):
    """A post as somebody types it."""

    title: Short = ""
    body: str = ""
    author: Short = ""


class CommentForm(Form):
    """A comment as somebody types it."""

    content: str = ""
    author: Short = ""


F = TypeVar("F", bound=Form)


def again(form: F, error: BlogError) -> F:
    """Return the form to send again: under the same key if it may have been done all the same.

    Who is told to wait (TooMany) may have sent it before, and not have seen what came of it.
    """
    return (
        form if isinstance(error, Unavailable | TooMany) else form.model_copy(update={"key": new_key()})
    )


def draft(form: Form) -> Mapping[str, Any]:
    """Return what a new post or comment is made of."""
    return form.model_dump(exclude={"key", "sequence", "behind"})


def wrong(error: BlogError | None) -> dict[str, Any]:
    """Say what is wrong: `errors` by field, `failure` where no field is to blame."""
    if error is None:
        return {"errors": {}, "failure": None}
    found = error.extensions.get("errors", [])
    errors = {item["loc"][0]: item["msg"].removeprefix("Value error, ") for item in found if item["loc"]}
    return {"errors": errors, "failure": None if errors else error.detail}
