"""Authorship: who may change what was written, and which version of it. Pure.

One rule for everything that has an author; what was written without a token belongs to nobody.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

from pydantic import Field

from blog.core.contract import Meta
from blog.core.deprecated import RenamedAttribute, renamed_fields, renamed_names
from blog.core.errors import Conflict, Forbidden, NotFound

T = TypeVar("T")

Version = Annotated[int, Field(ge=1)] | None
"""What an author says of the version that was seen: its sequence; None: whichever it is."""


@renamed_fields(thing="value")
@dataclass(frozen=True, slots=True)
class Owned(Generic[T]):
    """Something that was written: `value` as its author sees it, None once it is deleted.

    `sequence` is where the log has the author's last write: it names the version.
    """

    value: T | None
    author_hash: str | None
    sequence: int

    def is_owned_by(self, meta: Meta) -> bool:
        """Return whether its author makes the request."""
        return meta.author_hash is not None and meta.author_hash == self.author_hash

    is_of = RenamedAttribute("is_owned_by")

    def was_deleted_by(self, meta: Meta) -> bool:
        """Return whether it is deleted, and its author makes the request."""
        return self.value is None and self.is_owned_by(meta)


def authorize(found: Owned[T] | None, meta: Meta, what: str) -> T:
    """Return what the author of the request may change; `what` names it for people.

    Raises NotFound when it never existed or is deleted, Forbidden when it belongs to another author.
    """
    if found is None or found.value is None:
        raise NotFound(f"There is no {what}.")
    if not found.is_owned_by(meta):
        raise Forbidden(f"Only its author may change the {what}: send the token it was written with.")
    return found.value


def must_be_current(sequence: int, seen: int | None) -> None:
    """Raise Conflict, with the current `sequence`, when the author has seen another version."""
    if seen is not None and seen != sequence:
        raise Conflict(
            f"It changed in the meantime: you saw version {seen}, now it is {sequence}.",
            sequence=sequence,
        )


if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, own="authorize")
