"""The read side against a model: any order of events gives the rows that a few dicts would give."""

from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.query.service import posts
from blog.services.query.view import QueryView
from blog.testing.given import given
from tests.services.happenings import (
    MINE,
    meta,
    resaid,
    rewritten,
    said,
    settled,
    unsaid,
    unwritten,
    written,
)


class Model:
    """Posts and comments as plain dicts, and the events that made them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.posts: dict[str, str] = {}
        self.comments: dict[str, dict[str, Any]] = {}
        self.made: set[str] = set()

    def do(self, verb: str, number: int, word: str) -> None:
        """Let something happen; an id is made once, everything else may come at any time."""
        post_id, comment_id = derived_id("post", number), derived_id("comment", number)
        new = {"post": post_id, "say": comment_id}.get(verb)
        if new in self.made or (verb == "say" and post_id not in self.made):
            return
        self.made |= {new} if new else set()
        getattr(self, f"_{verb}")(post_id, comment_id, word)

    def _post(self, post_id: str, _: str, word: str) -> None:
        self.events.append(written(post_id, word))
        self.posts[post_id] = word

    def _edit(self, post_id: str, _: str, word: str) -> None:
        self.events.append(rewritten(word, id_=post_id))
        if post_id in self.posts:
            self.posts[post_id] = word

    def _unpost(self, post_id: str, comment_id: str, _: str) -> None:
        self.events.append(unwritten(post_id))
        self.posts.pop(post_id, None)
        self.comments.pop(comment_id, None)

    def _say(self, post_id: str, comment_id: str, word: str) -> None:
        self.events.append(said(comment_id, word, post_id))
        if post_id in self.posts:
            self.comments[comment_id] = {"content": word, "status": "pending"}

    def _resay(self, _: str, comment_id: str, word: str) -> None:
        self.events.append(resaid(word, comment_id))
        if comment_id in self.comments:
            self.comments[comment_id] = {"content": word, "status": "pending"}

    def _unsay(self, _: str, comment_id: str, __: str) -> None:
        self.events.append(unsaid(comment_id))
        self.comments.pop(comment_id, None)

    def _approve(self, _: str, comment_id: str, word: str) -> None:
        self.events.append(settled("approved", word, comment_id))
        known = self.comments.get(comment_id)
        if known and known["content"] == word:
            known["status"] = "approved"


COLOURS = ("red", "green", "blue")
VERBS = ("post", "edit", "unpost", "say", "resay", "unsay", "approve")


@settings(max_examples=200)
@for_all(
    st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 2), st.sampled_from(COLOURS)), max_size=40)
)
def test_rows_are_what_a_model_says(happenings: list[tuple[str, int, str]]) -> None:
    """Posts, comments, statuses, and what is found, whatever happened in whichever order."""
    model = Model()
    for happening in happenings:
        model.do(*happening)
    view = given(QueryView, *model.events)
    shown = posts(view, meta(MINE)).content
    assert {id_: item.title for id_, item in shown.items()} == model.posts
    comments = [one for item in shown.values() for one in item.comments]
    assert {one.id: (one.content, one.status) for one in comments} == {
        id_: (known["content"], known["status"]) for id_, known in model.comments.items()
    }
    for word in COLOURS:
        expected = {id_ for id_, title in model.posts.items() if title == word}
        assert set(posts(view, meta(), search=word).content) == expected
    view.db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
