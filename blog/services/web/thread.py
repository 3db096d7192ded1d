"""A post with its comments, and the form below them."""

from typing import NamedTuple

from blog.core.contract import Html, Peers
from blog.core.errors import BlogError, NotFound, status_of
from blog.services.web.forms import CommentForm, wrong
from blog.services.web.rendering import renderer

SHOWN = 100
"""Comments on one page; as many come with a post."""


class Place(NamedTuple):
    """What of a thread is shown: comments behind `behind`, as of the sequence `after`."""

    post_id: str
    after: int | None = None
    behind: str | None = None


async def show_thread(
    place: Place, peers: Peers, form: CommentForm, error: BlogError | None = None
) -> Html:
    """Show a post; while the view has not caught up with `after`, a page that asks again."""
    post_id, after, behind = place
    params = {"behind": behind} if behind else {}
    try:
        answer = await peers.query.get(f"/posts/{post_id}", params=params, after=after)
    except NotFound as missing:
        if missing.extensions.get("is_stale"):
            return Html("loading.html", {}, 202)
        raise
    post = answer.content
    texts = [post["body"], *(item["content"] or "" for item in post["comments"])]
    html = await renderer.render(texts)
    context = {
        "post": post,
        "body": html[0],
        "comments": list(zip(post["comments"], html[1:], strict=True)),
        "is_stale": answer.is_stale,
        "behind": behind,
        "after": after,
        "more": post["comments"][-1]["id"] if len(post["comments"]) == SHOWN else None,
        "form": form,
        **wrong(error),
    }
    return Html("post.html", context, status_of(error) if error else 200)
