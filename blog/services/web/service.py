"""Web: the pages that readers use. They call the other services, as any client of the blog does."""

from typing import Annotated

from pydantic import Field

from blog.core.contract import AUTHOR_COOKIE, Asset, Html, Meta, Peers, Redirect, Service
from blog.core.errors import BlogError, NotFound, status_of
from blog.core.ids import Id
from blog.services.web import changes
from blog.services.web.forms import (
    CommentForm,
    PostForm,
    Sequence,
    draft,
    error_context,
    first_token,
    to_resend,
)
from blog.services.web.markdown import excerpt
from blog.services.web.resource import thread_page
from blog.services.web.thread import PAGE_SIZE, ThreadPage, show_thread

service = Service("web")

FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z]+$")]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]


@service.page("GET", "/")
async def home(peers: Peers, before: Id | None = None, after: Sequence = None, search: str = "") -> Html:
    """Show what was written, newest first; with `search`, what has these words."""
    search = search.strip()
    params = {name: value for name, value in {"before": before, "search": search}.items() if value}
    response = await peers.query.get("/posts", params=params, after=after)
    context = {
        "posts": response.content.values(),
        "older": response.next,
        "is_stale": response.is_stale,
        "before": before,
        "search": search,
        "shown": PAGE_SIZE,
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
        response = await peers.posts.post("/posts", draft(form), author_token=token, key=form.key)
    except BlogError as error:
        return Html(
            "write.html", {"form": to_resend(form, error), **error_context(error)}, status_of(error)
        )
    return _redirect(f"/read/{response.content['id']}?after={response.sequence}", token)


@service.page("GET", "/read/{post_id}")
async def read(
    post_id: Id,
    peers: Peers,
    after: Sequence = None,
    after_comment: Id | None = None,
    behind: Id | None = None,
) -> Html:
    """Show one post with its comments, in a long thread those after `after_comment` (or `behind`)."""
    return await show_thread(ThreadPage(post_id, after, after_comment or behind), peers, CommentForm())


@service.action("POST", "/read/{post_id}")
async def comment(  # noqa: PLR0913 - one is the old name of another
    post_id: Id,
    form: CommentForm,
    peers: Peers,
    meta: Meta,
    *,
    after_comment: Id | None = None,
    behind: Id | None = None,
) -> Html | Redirect:
    """Comment on a post (`behind`: the old name of `after_comment`)."""
    after_comment = after_comment or behind
    token = meta.author_token or first_token(form.key)
    path = f"/posts/{post_id}/comments"
    try:
        response = await peers.comments.post(path, draft(form), author_token=token, key=form.key)
    except NotFound:
        raise
    except BlogError as error:
        return await show_thread(
            ThreadPage(post_id, after_comment=after_comment), peers, to_resend(form, error), error
        )
    written = response.content["id"]
    return _redirect(thread_page(post_id, after_comment, response.sequence, written), token)


for where, page, action in (
    ("/read/{post_id}/edit", changes.edit_post_page, changes.edit_post),
    ("/read/{post_id}/delete", changes.delete_post_page, changes.delete_post),
    ("/read/{post_id}/comments/{comment_id}/edit", changes.edit_comment_page, changes.edit_comment),
    ("/read/{post_id}/comments/{comment_id}/delete", changes.delete_comment_page, changes.delete_comment),
):
    service.page("GET", where)(page)
    service.action("POST", where)(action)


async def asset(name: FileName, version: Version | None = None) -> Asset:
    """Serve the style sheet and the scripts."""
    return Asset(name, version)


service.page("GET", "/assets/{name}")(asset)
service.page("GET", "/assets/{version}/{name}")(asset)


def _redirect(path: str, token: str) -> Redirect:
    return Redirect(path, {AUTHOR_COOKIE: token})
