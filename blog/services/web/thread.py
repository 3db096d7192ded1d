"""A post with its comments, and the form below them."""

from typing import NamedTuple

from blog.core.contract import Html, Peers
from blog.core.errors import BlogError, NotFound, status_of
from blog.services.web.forms import CommentForm, error_context
from blog.services.web.rendering import renderer
from blog.services.web.resource import thread_page, thread_query

PAGE_SIZE = 100
"""Comments on one page: as many as come with a post."""


class ThreadPage(NamedTuple):
    """A page of a thread: the comments after `after_comment`, as of the sequence `after`."""

    post_id: str
    after: int | None = None
    after_comment: str | None = None


async def show_thread(
    page: ThreadPage, peers: Peers, form: CommentForm, error: BlogError | None = None
) -> Html:
    """Show a post; while the view has not caught up with `after`, a page that asks again."""
    post_id, after, after_comment = page
    try:
        response = await peers.query.get(
            f"/posts/{post_id}", params=thread_query(after_comment), after=after
        )
    except NotFound as missing:
        if missing.extensions.get("is_stale"):
            return Html("loading.html", {}, 202)
        raise
    post = response.content
    texts = [post["body"], *(item["content"] or "" for item in post["comments"])]
    html = await renderer.render(texts)
    context = {
        "post": post,
        "body": html[0],
        "comments": list(zip(post["comments"], html[1:], strict=True)),
        "is_stale": response.is_stale,
        "after_comment": after_comment,
        "after": after,
        "thread_query": thread_query,
        "thread_page": thread_page,
        "more": post["comments"][-1]["id"] if len(post["comments"]) == PAGE_SIZE else None,
        "form": form,
        **error_context(error),
    }
    return Html("post.html", context, status_of(error) if error else 200)
