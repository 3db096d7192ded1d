"""A thread as readers page through it, and what of it they see while it is edited and moderated again."""

import itertools
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example
from hypothesis import given as for_all
from hypothesis import strategies as st

from blog.core.contract import Meta
from blog.core.decision import Append
from blog.core.errors import NotFound
from blog.core.events import Event
from blog.core.ids import derived_id
from blog.services.comments import service as comments
from blog.services.comments.events import CommentCreated, CommentDeleted, CommentEdited
from blog.services.comments.operator import approve_comment, reject_comment
from blog.services.comments.view import CommentsView
from blog.services.moderation.events import CommentModerated, Verdict
from blog.services.moderation.service import ModerationSettings, moderate, moderate_again
from blog.services.posts.events import PostCreated
from blog.testing.given import given

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
POST, COMMENT = derived_id("post"), derived_id("comment")
MINE = "a" * 64


def meta(author: str | None = MINE) -> Meta:
    """Make what a request would bring."""
    return Meta(request_id="r", now=LATER, author_hash=author)


def a_post() -> PostCreated:
    """Give a post."""
    return PostCreated(id=POST, title="Hello", created_at=NOW)


def a_comment(id_: str = COMMENT, content: str = "hi") -> CommentCreated:
    """Give a comment on the post."""
    return CommentCreated(id=id_, post_id=POST, content=content, created_at=NOW, author_hash=MINE)


def an_edit(content: str = "hey") -> CommentEdited:
    """Give other words for the comment."""
    return CommentEdited(id=COMMENT, post_id=POST, content=content, edited_at=LATER)


def a_deletion(id_: str = COMMENT) -> CommentDeleted:
    """Take a comment back."""
    return CommentDeleted(id=id_, post_id=POST, deleted_at=LATER)


def test_a_reader_behind_a_deleted_comment_reads_on() -> None:
    """The place stays known."""
    ids = [derived_id("c", n) for n in range(4)]
    events = [a_post(), *map(a_comment, ids)]
    view = given(CommentsView, *events, a_deletion(ids[1]))
    assert [c.id for c in comments.comments_of(POST, view, meta(), after=ids[1])] == ids[2:]
    assert [c.id for c in comments.comments_of(POST, view, meta())] == [ids[0], *ids[2:]]


def steps(view: CommentsView, after: str) -> int:
    """Count the steps of SQLite's machine that a page behind `after` takes."""
    taken = itertools.count()
    view.db.set_progress_handler(lambda: next(taken) < 0, 1)
    page = comments.comments_of(POST, view, meta(), limit=10, after=after)
    view.db.set_progress_handler(None, 1)
    assert len(page) == 10
    return next(taken)


@pytest.mark.parametrize("are_deleted", [False, True])
def test_the_last_page_costs_what_the_first_one_does(*, are_deleted: bool) -> None:
    """Keyset paging: nothing before the page is looked at, nor are those that were deleted."""
    ids = [derived_id("c", n) for n in range(2000)]
    gone = ids[10:1000] if are_deleted else []
    view = given(
        CommentsView,
        a_post(),
        *map(a_comment, ids),
        *(a_deletion(id_) for id_ in gone),
    )
    first, over, last = steps(view, ""), steps(view, ids[9]), steps(view, ids[-11])
    assert max(first, over, last) - min(first, over, last) < 20


@pytest.mark.parametrize(("content", "status"), [("I like it", "approved"), ("an Orange", "rejected")])
def test_an_edited_comment_is_moderated_by_the_same_rule(content: str, status: str) -> None:
    """The verdict is the one that it would have got if it had been written so."""
    settings = ModerationSettings()
    verdict = moderate_again(an_edit(content), settings)
    assert verdict == moderate(a_comment(content=content), settings)
    assert (verdict.status, verdict.content) == (status, content)


class Thread:
    """A log of one post in which moderation and comments lag behind, each in its own order.

    `lag` says how far behind the log the view is that a verdict is settled by: it always has the verdict.
    """

    def __init__(self, lag: int = 0) -> None:
        self.log: list[Event] = [a_post(), a_comment()]
        self._moderated = 0
        self._settled = 0
        self._lag = lag

    def operate(self, status: Verdict) -> None:
        """Let an operator decide, on all that is in the log: it would not take what was overlooked."""
        command = {"approved": approve_comment, "rejected": reject_comment}[status]
        with suppress(NotFound):  # it was deleted
            decision = command(COMMENT, given(CommentsView, *self.log))
            if isinstance(decision, Append):
                self.log.extend(decision.events)

    def moderate(self) -> bool:
        """Let moderation react to the next event that it has not; False when there is none."""
        for event in self.log[self._moderated :]:
            self._moderated += 1
            if isinstance(event, CommentCreated):
                self.log.append(moderate(event, ModerationSettings()))
                return True
            if isinstance(event, CommentEdited):
                self.log.append(moderate_again(event, ModerationSettings()))
                return True
        return False

    def settle(self) -> bool:
        """Let comments react to the next verdict; False when there is none."""
        for event in self.log[self._settled :]:
            self._settled += 1
            if isinstance(event, CommentModerated):
                known = max(self._settled, len(self.log) - self._lag)
                follows = comments.settle(event, given(CommentsView, *self.log[:known]))
                self.log.extend([follows] if follows else [])
                return True
        return False

    def last_word(self) -> Verdict:
        """Return what should become of the comment: what an operator said since it was last edited."""
        last: Verdict = "approved"
        for event in self.log:
            match event:
                case CommentCreated(content=said) | CommentEdited(content=said):
                    last = "rejected" if "orange" in said else "approved"
                case CommentModerated(by="operator"):
                    last = event.status
        return last


def must_show_only_what_was_approved(events: list[Event]) -> None:
    """Check what a stranger and the author see after `events`."""
    view = given(CommentsView, *events)
    said = [e.content for e in events if isinstance(e, CommentCreated | CommentEdited)]
    approved = {e.content for e in events if isinstance(e, CommentModerated) and e.status == "approved"}
    if any(isinstance(event, CommentDeleted) for event in events):
        assert comments.comments_of(POST, view, meta(MINE)) == []
        return
    [mine] = comments.comments_of(POST, view, meta(MINE))
    [shown] = comments.comments_of(POST, view, meta(None))
    assert mine.content == said[-1]
    assert shown.content in (None, mine.content)
    assert shown.content is None or shown.content in approved


STEPS = st.one_of(
    st.sampled_from(["moderate", "settle", "delete", "approved", "rejected"]),
    st.sampled_from(["hi", "hello", "an orange", "oranges"]).map(an_edit),
)


@example(["rejected"], 0)  # before moderation has looked
@example(["moderate", "rejected"], 2)  # moderation's verdict is settled by a view without the operator's
@example(["moderate", "settle", "rejected", "settle", "approved"], 0)
@example([an_edit("hey"), an_edit("hi"), "rejected"], 0)  # the verdict on the first words comes last
@example(["rejected", an_edit("hey"), an_edit("hi")], 0)
@for_all(st.lists(STEPS, max_size=12), st.integers(0, 5))
def test_nobody_sees_what_was_not_approved_and_the_last_verdict_counts(
    happens: list[str | CommentEdited], lag: int
) -> None:
    """However edits, verdicts, operators and settling interleave, at every moment and in the end.

    An operator's word stands over moderation's, early or late, until the comment says something else.
    """
    thread = Thread(lag)
    for step in happens:
        match step:
            case "moderate":
                thread.moderate()
            case "settle":
                thread.settle()
            case "delete":
                thread.log.append(a_deletion())
            case "approved" | "rejected" as status:
                thread.operate(status)
            case CommentEdited():
                thread.log.append(step)
    while thread.moderate() or thread.settle():
        pass
    for length in range(2, len(thread.log) + 1):
        must_show_only_what_was_approved(thread.log[:length])
    for comment in comments.comments_of(POST, given(CommentsView, *thread.log), meta(MINE)):
        assert comment.status == thread.last_word()
