"""Who may change what was written, and which version of it."""

from datetime import UTC, datetime

import pytest

from blog.core.authorship import Owned, authorize, must_be_current
from blog.core.contract import Meta
from blog.core.errors import BlogError, Conflict, Forbidden, NotFound

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def asked_by(author_hash: str | None) -> Meta:
    """Make the meta of a request of somebody."""
    return Meta(request_id="r", now=NOW, author_hash=author_hash)


@pytest.mark.parametrize(
    ("thing", "author", "reader", "error"),
    [
        ("text", "mine", "mine", None),
        ("text", "mine", "yours", Forbidden),
        ("text", "mine", None, Forbidden),
        ("text", None, None, Forbidden),
        ("text", None, "mine", Forbidden),
        (None, "mine", "mine", NotFound),
        (None, "mine", "yours", NotFound),
    ],
)
def test_a_thing_is_its_authors_alone(
    thing: str | None, author: str | None, reader: str | None, error: type[BlogError] | None
) -> None:
    """What was written without a token is nobody's, and what is deleted is not there."""
    found = Owned(thing, author, 1)
    if error is None:
        assert authorize(found, asked_by(reader), "thing") == thing
    else:
        with pytest.raises(error):
            authorize(found, asked_by(reader), "thing")


def test_what_never_was_is_not_found() -> None:
    """The answer names it."""
    with pytest.raises(NotFound, match="post p1"):
        authorize(None, asked_by("mine"), "post p1")


@pytest.mark.parametrize(
    ("thing", "author", "reader", "deleted"),
    [(None, "a", "a", True), (None, "a", "b", False), (None, None, None, False), ("t", "a", "a", False)],
)
def test_an_author_may_know_what_is_deleted(
    thing: str | None, author: str | None, reader: str | None, *, deleted: bool
) -> None:
    """Nobody else has deleted it, and deleting it again is fine."""
    assert Owned(thing, author, 1).was_deleted_by(asked_by(reader)) is deleted


def test_another_version_than_was_seen_is_a_conflict() -> None:
    """The problem says which one there is; who has seen none takes any."""
    must_be_current(7, 7)
    must_be_current(7, None)
    for seen in (6, 8):
        with pytest.raises(Conflict) as refused:
            must_be_current(7, seen)
        assert refused.value.extensions == {"sequence": 7}
