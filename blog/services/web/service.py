"""Web: the pages that readers use. They ask the other services, as any client of the blog does."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field

from blog.core.contract import AUTHOR_COOKIE, Asset, Html, Meta, Peers, Redirect, Service
from blog.core.errors import BlogError, NotFound, Unavailable, status_of
from blog.core.ids import Id
from blog.services.web.forms import CommentForm, PostForm, first_token, new_key
from blog.services.web.markdown import excerpt, render

Form = TypeVar("Form", PostForm, CommentForm)

service = Service("web")

Sequence = Annotated[int, Field(ge=0)] | None
SHOWN = 100
"""Comments on one page; as many come with a post."""

FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z]+$")]


@service.page("GET", "/")
async def home(peers: Peers, before: Id | None = None, after: Sequence = None) -> Html:
    """Show what was written, newest first."""
    params = {"before": before} if before else {}
    answer = await peers.query.get("/posts", params=params, after=after)
    context = {
        "posts": answer.content.values(),
        "older": answer.next,
        "before": before,
        "shown": SHOWN,
        "excerpt": excerpt,
    }
    return Html("home.html", context)


@service.page("GET", "/write")
async def write() -> Html:
    """Show the form for a post."""
    return Html("write.html", {"form": PostForm(), "errors": {}, "failure": None})


@service.action("POST", "/write")
async def publish(form: PostForm, peers: Peers, meta: Meta) -> Html | Redirect:
    """Publish what was written in the form."""
    token = meta.author_token or first_token(form.key)
    try:
        answer = await peers.posts.post("/posts", _draft(form), author_token=token, key=form.key)
    except BlogError as error:
        return Html("write.html", {"form": _again(form, error), **_wrong(error)}, status_of(error))
    return _to(f"/read/{answer.content['id']}?after={answer.sequence}", token)


@service.page("GET", "/read/{post_id}")
async def read(post_id: Id, peers: Peers, after: Sequence = None, behind: Id | None = None) -> Html:
    """Show one post with its comments, those behind the comment `behind` in a long thread."""
    return await _thread(Place(post_id, after, behind), peers, CommentForm())


@service.action("POST", "/read/{post_id}")
async def comment(
    post_id: Id, form: CommentForm, peers: Peers, meta: Meta, behind: Id | None = None
) -> Html | Redirect:
    """Comment on a post."""
    token = meta.author_token or first_token(form.key)
    path = f"/posts/{post_id}/comments"
    try:
        answer = await peers.comments.post(path, _draft(form), author_token=token, key=form.key)
    except NotFound:
        raise
    except BlogError as error:
        return await _thread(Place(post_id, behind=behind), peers, _again(form, error), error)
    part = f"behind={behind}&" if behind else ""
    return _to(f"/read/{post_id}?{part}after={answer.sequence}#{answer.content['id']}", token)


@service.page("GET", "/assets/{name}")
async def asset(name: FileName) -> Asset:
    """Serve the style sheet and the script."""
    return Asset(name)


class Place(NamedTuple):
    """What of a thread is shown: comments behind `behind`, as of the sequence `after`."""

    post_id: str
    after: int | None = None
    behind: str | None = None


async def _thread(place: Place, peers: Peers, form: CommentForm, error: BlogError | None = None) -> Html:
    """Show a post; while the view has not caught up with `after`, a page that asks again."""
    post_id, after, behind = place
    try:
        answer = await peers.query.get(f"/posts/{post_id}", after=after)
    except NotFound as missing:
        if missing.extensions.get("is_stale"):
            return Html("loading.html", {}, 202)
        raise
    post = answer.content
    if behind:
        rest = {"after": behind, "limit": str(SHOWN)}
        path = f"/posts/{post_id}/comments"
        post["comments"] = (await peers.comments.get(path, params=rest, after=after)).content
    texts = [post["body"], *(item["content"] or "" for item in post["comments"])]
    html = await asyncio.to_thread(lambda: [render(text) for text in texts])
    context = {
        "post": post,
        "body": html[0],
        "comments": list(zip(post["comments"], html[1:], strict=True)),
        "is_stale": answer.is_stale,
        "behind": behind,
        "after": after,
        "more": post["comments"][-1]["id"] if len(post["comments"]) == SHOWN else None,
        "form": form,
        **_wrong(error),
    }
    return Html("post.html", context, status_of(error) if error else 200)


def _again(form: Form, error: BlogError) -> Form:
    """Return the form to send again: under the same key if it may have been done all the same."""
    return form if isinstance(error, Unavailable) else form.model_copy(update={"key": new_key()})


def _draft(form: BaseModel) -> Mapping[str, Any]:
    return form.model_dump(exclude={"key"})


def _wrong(error: BlogError | None) -> dict[str, Any]:
    """Say what is wrong: `errors` by field, `failure` where no field is to blame."""
    if error is None:
        return {"errors": {}, "failure": None}
    found = error.extensions.get("errors", [])
    errors = {item["loc"][0]: item["msg"].removeprefix("Value error, ") for item in found if item["loc"]}
    return {"errors": errors, "failure": None if errors else error.detail}


def _to(path: str, token: str) -> Redirect:
    return Redirect(path, {AUTHOR_COOKIE: token})
