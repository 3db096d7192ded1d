"""How authors change what they wrote: a form to edit it, and a question before it is deleted.

Only its author gets these pages. They send the version that the author saw (`sequence`): a change made
meanwhile is shown beside what was typed, and nothing is overwritten unseen.
"""

from typing import Any

from blog.core.contract import Html, Meta, Peers, Redirect
from blog.core.errors import BlogError, Conflict, Forbidden, NotFound, status_of
from blog.core.ids import Id
from blog.services.web.forms import CommentForm, Form, PostForm, error_context, to_resend
from blog.services.web.rendering import renderer
from blog.services.web.resource import Resource

_FIELDS = {"title", "body", "content", "sequence"}  # what a change is made of


async def edit_post_page(post_id: Id, peers: Peers) -> Html:
    """Show the form to edit a post."""
    return await _form_page("edit.html", Resource(post_id), peers)


async def edit_post(post_id: Id, form: PostForm, peers: Peers, meta: Meta) -> Html | Redirect:
    """Edit a post."""
    return await _edit(Resource(post_id), form, peers, meta)


async def delete_post_page(post_id: Id, peers: Peers) -> Html:
    """Ask whether to delete a post."""
    return await _form_page("delete.html", Resource(post_id), peers)


async def delete_post(post_id: Id, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    """Delete a post."""
    return await _delete(Resource(post_id), form, peers, meta)


async def edit_comment_page(
    post_id: Id,
    comment_id: Id,
    peers: Peers,
    after_comment: Id | None = None,
    behind: Id | None = None,
) -> Html:
    """Show the form to edit a comment (`behind`: the old name of `after_comment`)."""
    resource = Resource(post_id, comment_id, after_comment or behind)
    return await _form_page("edit.html", resource, peers)


async def edit_comment(
    post_id: Id, comment_id: Id, form: CommentForm, peers: Peers, meta: Meta
) -> Html | Redirect:
    """Edit a comment."""
    return await _edit(Resource(post_id, comment_id, form.after_comment), form, peers, meta)


async def delete_comment_page(
    post_id: Id,
    comment_id: Id,
    peers: Peers,
    after_comment: Id | None = None,
    behind: Id | None = None,
) -> Html:
    """Ask whether to delete a comment (`behind`: the old name of `after_comment`)."""
    resource = Resource(post_id, comment_id, after_comment or behind)
    return await _form_page("delete.html", resource, peers)


async def delete_comment(
    post_id: Id, comment_id: Id, form: Form, peers: Peers, meta: Meta
) -> Html | Redirect:
    """Delete a comment."""
    return await _delete(Resource(post_id, comment_id, form.after_comment), form, peers, meta)


async def _edit(resource: Resource, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    change = form.model_dump(include=_FIELDS, exclude_none=True)
    try:
        response = await resource.service(peers).put(
            resource.path, change, author_token=_token(meta), key=form.key
        )
    except (NotFound, Forbidden):
        raise
    except BlogError as error:
        return await _form_page("edit.html", resource, peers, form, error)
    return Redirect(resource.page(response.sequence))


async def _delete(resource: Resource, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    params = {} if form.sequence is None else {"sequence": str(form.sequence)}
    try:
        response = await resource.service(peers).delete(
            resource.path, params=params, author_token=_token(meta), key=form.key
        )
    except (NotFound, Forbidden):
        raise
    except BlogError as error:
        return await _form_page("delete.html", resource, peers, form, error)
    if resource.comment_id:
        return Redirect(resource._replace(comment_id=None).page(response.sequence))
    return Redirect("/" if response.sequence is None else f"/?after={response.sequence}")


async def _form_page(
    template: str,
    resource: Resource,
    peers: Peers,
    form: Form | None = None,
    error: BlogError | None = None,
) -> Html:
    """Show the form, first with the current content, then with what was typed and what is wrong with it.

    Raises NotFound, and Forbidden for all but its author.
    """
    current = (await peers.query.get(resource.path)).content
    if not current.get("mine"):
        raise Forbidden("Only who wrote it can change it, from where it was written.")
    changed = isinstance(error, Conflict)
    if form is None:
        form = _form_of(current)
    elif error is not None:
        form = to_resend(form, error).model_copy(
            update={"sequence": current["sequence"]} if changed else {}
        )
    [html] = await renderer.render([current["content"] if resource.comment_id else current["body"]])
    context: dict[str, Any] = {
        "resource": resource,
        "form": form,
        "current": current,
        "html": html,
        "changed": changed,
        **error_context(None if changed else error),
    }
    return Html(template, context, status_of(error) if error else 200)


def _form_of(current: dict[str, Any]) -> Form:
    """Make the form that shows a post or comment as it is."""
    words = {name: current[name] for name in ("title", "body", "content", "sequence") if name in current}
    return (PostForm if "title" in current else CommentForm).model_validate(words)


def _token(meta: Meta) -> str:
    if meta.author_token is None:
        raise Forbidden("Only who wrote it can change it, from where it was written.")
    return meta.author_token
