"""Search: posts are found by their words, whatever is typed; comments never are."""

import sqlite3
from contextlib import closing
from typing import Any, cast

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from blog.core.errors import SettingsError
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.query.search import as_match, must_have_fts5
from blog.services.query.service import posts
from blog.services.query.view import QueryView
from blog.testing.given import given
from tests.services.happenings import (
    MINE,
    POST,
    found,
    meta,
    rewritten,
    said,
    settled,
    unwritten,
    written,
)


def test_posts_are_found_by_all_of_the_words() -> None:
    """In title or body, whatever the case and the accents, the last one unfinished; newest first."""
    view = given(
        QueryView,
        written(derived_id(1), "Crème brûlée", "with sugar"),
        written(derived_id(2), "Sugar", "and spice"),
        written(derived_id(3), "Something else"),
    )
    assert found(view, "sugar") == ["Sugar", "Crème brûlée"]
    assert found(view, "CREME sug") == ["Crème brûlée"]
    assert found(view, "sug spice") == []
    assert found(view, "spice sug") == ["Sugar"]
    assert found(view, "nothing") == []


def test_edits_and_deletions_change_what_is_found() -> None:
    """Old words find nothing any more."""
    events: list[Event] = [written(title="old", body="older"), rewritten("new", "newer")]
    view = given(QueryView, *events)
    assert [found(view, word) for word in ("old", "older", "new", "newer")] == [[], [], ["new"], ["new"]]
    view = given(QueryView, *events, unwritten())
    assert found(view, "new") == []
    view.db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("status", ["pending", "rejected", "approved"])
def test_words_of_comments_find_nothing(status: str) -> None:
    """Whatever became of them: so nothing that may not be shown can be found out by searching."""
    events: list[Event] = [written(), said(content="secret")]
    if status != "pending":
        events.append(settled(status, "secret"))
    view = given(QueryView, *events)
    for reader in (None, MINE):
        assert posts(view, meta(reader), search="secret").content == {}


@pytest.mark.parametrize(
    "hopeless", ["", " ", "!!", '"', '""', "*", "- -", "()", "^", "\u3000", "😀", "title:", "'; DROP--"]
)
def test_a_hopeless_search_finds_nothing(hopeless: str) -> None:
    """And is no error."""
    view = given(QueryView, written(title="title drop and near or not"))
    if hopeless not in ("title:", "'; DROP--"):
        assert posts(view, meta(), search=hopeless).content == {}
    else:
        assert len(posts(view, meta(), search=hopeless).content) == 1


@pytest.mark.parametrize(
    "typed", ["title OR x", "NOT title", "title NOT x", "NEAR(title x)", "body:title", "ti* x", "{a} x"]
)
def test_what_is_typed_is_never_syntax(typed: str) -> None:
    """Each word has to be there as a word."""
    view = given(QueryView, written(title="title"))
    assert found(view, typed) == []


@for_all(st.text(max_size=200))
def test_any_text_can_be_searched_for(typed: str) -> None:
    """What has these words is found by them, in any order of any signs; nothing raises."""
    view = given(QueryView, written(title="x", body=typed))
    assert [item.id for item in view.posts(limit=5, search=typed)[0]] in ([], [POST])
    words = [word for word in typed.split() if word.isascii() and word.isalnum()]
    if words:
        assert found(view, " ".join(reversed(words))) == ["x"]
    assert as_match(typed).count('"') % 2 == 0


def test_what_is_found_has_pages() -> None:
    """The next page looks for the same words, below the last post of this one."""
    ids = [derived_id("p", n) for n in range(5)]
    view = given(QueryView, *(written(id_, "even" if n % 2 == 0 else "odd") for n, id_ in enumerate(ids)))
    first = posts(view, meta(), limit=2, search="even")
    assert list(first.content) == [ids[4], ids[2]]
    assert first.next == {"limit": "2", "before": ids[2], "search": "even"}
    last = posts(view, meta(), limit=2, search="even", before=ids[2])
    assert (list(last.content), last.next) == ([ids[0]], None)


def test_without_fts5_it_says_what_is_missing() -> None:
    """One line, before anything is built."""
    with closing(sqlite3.connect(":memory:")) as db:

        class Without:
            """A connection whose SQLite has no modules."""

            def execute(self, _: str) -> Any:
                """Find nothing."""
                return db.execute("SELECT 1 WHERE 0")

        with pytest.raises(SettingsError, match="has no FTS5, which search needs"):
            must_have_fts5(cast("sqlite3.Connection", Without()))
