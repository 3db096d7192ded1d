"""What the pages' forms send. Validated by the services that get it; here only read.

`key` is made with the page: a form that is sent twice is one post, one comment. It is a secret: a reader
without an author's token gets one that is derived from it, the same for both submissions. `sequence` is
the version that the author saw of what is changed, `after_comment` the comment before the thread's page.
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field

from blog.core.errors import BlogError, TooMany, Unavailable
from blog.core.ids import Id, sha256_hex

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{20,64}$")]
ShortText = Annotated[str, Field(max_length=2_000)]
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
    # `behind`, its old name, is in the pages of instances of 0.1
    after_comment: Id | None = Field(None, validation_alias=AliasChoices("after_comment", "behind"))


class PostForm(Form):
    """A post as somebody types it."""

    title: ShortText = ""
    body: str = ""
    author: ShortText = ""


class CommentForm(Form):
    """A comment as somebody types it."""

    content: str = ""
    author: ShortText = ""


F = TypeVar("F", bound=Form)


def to_resend(form: F, error: BlogError) -> F:
    """Return the form to send again: with the same key if it may have been processed all the same.

    A client that has to wait (TooMany) may have sent it before, and not have seen the response.
    """
    return (
        form if isinstance(error, Unavailable | TooMany) else form.model_copy(update={"key": new_key()})
    )


def draft(form: Form) -> Mapping[str, Any]:
    """Return the content of a new post or comment."""
    return form.model_dump(exclude={"key", "sequence", "after_comment"})


def error_context(error: BlogError | None) -> dict[str, Any]:
    """Return what is wrong, for a template: `errors` by field, `failure` for everything else."""
    if error is None:
        return {"errors": {}, "failure": None}
    found = error.extensions.get("errors", [])
    errors = {item["loc"][0]: item["msg"].removeprefix("Value error, ") for item in found if item["loc"]}
    return {"errors": errors, "failure": None if errors else error.detail}
