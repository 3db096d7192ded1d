"""Moderation: a list of words decides."""

from pydantic import Field

from blog.core.contract import Service
from blog.core.settings import ServiceSettings, Words
from blog.services.comments.events import CommentCreated, CommentEdited
from blog.services.moderation.events import CommentModerated


class ModerationSettings(ServiceSettings):
    """What a deployment may set."""

    moderation_words: Words = Field(
        default=("orange",), description="comments with one of these are rejected; any case"
    )


service = Service("moderation", settings=ModerationSettings)


@service.reaction
def moderate(comment: CommentCreated, settings: ModerationSettings) -> CommentModerated:
    """Reject a comment that contains one of the words."""
    return verdict_on(comment, settings.moderation_words)


@service.reaction
def moderate_again(comment: CommentEdited, settings: ModerationSettings) -> CommentModerated:
    """Moderate an edited comment again."""
    return verdict_on(comment, settings.moderation_words)


def verdict_on(comment: CommentCreated | CommentEdited, words: tuple[str, ...]) -> CommentModerated:
    """Decide about a comment; the verdict names the content that it is about."""
    found = find_word(comment.content, words)
    return CommentModerated(
        id=comment.id,
        post_id=comment.post_id,
        content=comment.content,
        status="rejected" if found else "approved",
        reason=f"contains {found!r}" if found else None,
    )


def find_word(content: str, words: tuple[str, ...]) -> str | None:
    """Return the first of `words` that is in `content`, whatever the case; None if none is."""
    folded = content.casefold()
    return next((word for word in words if word.casefold() in folded), None)
