"""Authorship: who may change what was written, and which version of it. Pure.

One rule for everything that has an author; what was written without a token belongs to nobody.
"""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from blog.core.contract import Meta
from blog.core.errors import Conflict, Forbidden, NotFound

T = TypeVar("T")

Version = Annotated[int, Field(ge=1)] | None
"""What an author says of the version that was seen: its sequence; None: whichever it is."""


@dataclass(frozen=True, slots=True)
class Owned(Generic[T]):
    """Something that was written: `thing` as its author sees it, None once it is deleted.

    `sequence` is where the log has the author's last write: it names the version.
    """

    thing: T | None
    author_hash: str | None
    sequence: int

    def is_of(self, meta: Meta) -> bool:
        """Tell whether its author asks."""
        return meta.author_hash is not None and meta.author_hash == self.author_hash

    def was_deleted_by(self, meta: Meta) -> bool:
        """Tell whether it is gone, and who asks has deleted it."""
        return self.thing is None and self.is_of(meta)


def own(found: Owned[T] | None, meta: Meta, what: str) -> T:
    """Return what `meta`'s author may change; `what` names it for people.

    Raises NotFound when it never was or is deleted, Forbidden when somebody else asks.
    """
    if found is None or found.thing is None:
        raise NotFound(f"There is no {what}.")
    if not found.is_of(meta):
        raise Forbidden(f"Only its author may change the {what}: send the token it was written with.")
    return found.thing


def must_be_current(sequence: int, seen: int | None) -> None:
    """Raise Conflict, with the current `sequence`, when the author has seen another version."""
    if seen is not None and seen != sequence:
        raise Conflict(
            f"It changed in the meantime: you saw version {seen}, now it is {sequence}.",
            sequence=sequence,
        )
