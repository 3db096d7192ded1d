"""How authors change what they wrote: a form for other words, and a question before it is deleted.

Only its author gets these pages. The version that they saw goes along (`sequence`): what changed
meanwhile is shown beside what was typed, and nothing is overwritten unseen.
"""

from typing import Any

from blog.core.contract import Html, Meta, Peers, Redirect
from blog.core.errors import BlogError, Conflict, Forbidden, NotFound, status_of
from blog.core.ids import Id
from blog.services.web.forms import CommentForm, Form, PostForm, again, wrong
from blog.services.web.rendering import renderer
from blog.services.web.subject import Subject

_FIELDS = {"title", "body", "content", "sequence"}  # what a change is made of


async def edit_post_page(post_id: Id, peers: Peers) -> Html:
    """Show the form for other words of a post."""
    return await _ask("edit.html", Subject(post_id), peers)


async def edit_post(post_id: Id, form: PostForm, peers: Peers, meta: Meta) -> Html | Redirect:
    """Give a post other words."""
    return await _edit(Subject(post_id), form, peers, meta)


async def delete_post_page(post_id: Id, peers: Peers) -> Html:
    """Ask whether to delete a post."""
    return await _ask("delete.html", Subject(post_id), peers)


async def delete_post(post_id: Id, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    """Delete a post."""
    return await _delete(Subject(post_id), form, peers, meta)


async def edit_comment_page(post_id: Id, comment_id: Id, peers: Peers, behind: Id | None = None) -> Html:
    """Show the form for other words of a comment."""
    return await _ask("edit.html", Subject(post_id, comment_id, behind), peers)


async def edit_comment(
    post_id: Id, comment_id: Id, form: CommentForm, peers: Peers, meta: Meta
) -> Html | Redirect:
    """Give a comment other words."""
    return await _edit(Subject(post_id, comment_id, form.behind), form, peers, meta)


async def delete_comment_page(
    post_id: Id, comment_id: Id, peers: Peers, behind: Id | None = None
) -> Html:
    """Ask whether to delete a comment."""
    return await _ask("delete.html", Subject(post_id, comment_id, behind), peers)


async def delete_comment(
    post_id: Id, comment_id: Id, form: Form, peers: Peers, meta: Meta
) -> Html | Redirect:
    """Delete a comment."""
    return await _delete(Subject(post_id, comment_id, form.behind), form, peers, meta)


async def _edit(subject: Subject, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    change = form.model_dump(include=_FIELDS, exclude_none=True)
    try:
        answer = await subject.owner(peers).put(
            subject.path, change, author_token=_token(meta), key=form.key
        )
    except (NotFound, Forbidden):
        raise
    except BlogError as error:
        return await _ask("edit.html", subject, peers, form, error)
    return Redirect(subject.page(answer.sequence))


async def _delete(subject: Subject, form: Form, peers: Peers, meta: Meta) -> Html | Redirect:
    params = {} if form.sequence is None else {"sequence": str(form.sequence)}
    try:
        answer = await subject.owner(peers).delete(
            subject.path, params=params, author_token=_token(meta), key=form.key
        )
    except (NotFound, Forbidden):
        raise
    except BlogError as error:
        return await _ask("delete.html", subject, peers, form, error)
    if subject.comment_id:
        return Redirect(subject._replace(comment_id=None).page(answer.sequence))
    return Redirect("/" if answer.sequence is None else f"/?after={answer.sequence}")


async def _ask(
    template: str,
    subject: Subject,
    peers: Peers,
    form: Form | None = None,
    error: BlogError | None = None,
) -> Html:
    """Show the form, first with what is there, then with what was typed and what is wrong with it.

    Raises NotFound, and Forbidden for who did not write it.
    """
    now = (await peers.query.get(subject.path)).content
    if not now.get("mine"):
        raise Forbidden("Only who wrote it can change it, from where it was written.")
    changed = isinstance(error, Conflict)
    if form is None:
        form = _form_of(now)
    elif error is not None:
        form = again(form, error).model_copy(update={"sequence": now["sequence"]} if changed else {})
    [html] = await renderer.render([now["content"] if subject.comment_id else now["body"]])
    context: dict[str, Any] = {
        "subject": subject,
        "form": form,
        "now": now,
        "html": html,
        "changed": changed,
        **wrong(None if changed else error),
    }
    return Html(template, context, status_of(error) if error else 200)


def _form_of(now: dict[str, Any]) -> Form:
    """Make the form that shows a post or comment as it is."""
    words = {name: now[name] for name in ("title", "body", "content", "sequence") if name in now}
    return (PostForm if "title" in now else CommentForm).model_validate(words)


def _token(meta: Meta) -> str:
    if meta.author_token is None:
        raise Forbidden("Only who wrote it can change it, from where it was written.")
    return meta.author_token
