"""Posts: somebody writes one. It needs no view: a new post depends on nothing before it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from blog.core.contract import Meta, Service
from blog.core.text import Line, Text, Title
from blog.services.posts.events import PostCreated

service = Service("posts")


class PostDraft(BaseModel):
    """What a writer sends."""

    title: Annotated[Title, Field(max_length=200)]
    body: Annotated[Text, Field(max_length=100_000)] = ""
    author: Annotated[Line, Field(max_length=80)] = ""


class Post(BaseModel):
    """What the writer gets back."""

    id: str
    title: str
    body: str
    author: str
    created_at: datetime


def as_post(event: PostCreated, _: Meta) -> Post:
    """Show the post that was written."""
    return Post.model_validate(event.model_dump())


# /posts/create is what the clients of a well-known course on this subject call.
@service.command("POST", "/posts", "/posts/create", answer=as_post, location="/posts/{id}")
def write_post(draft: PostDraft, meta: Meta) -> PostCreated:
    """Write a post."""
    return PostCreated(
        id=meta.new_id(),
        **draft.model_dump(),
        created_at=meta.now,
        author_hash=meta.author_hash,
    )
