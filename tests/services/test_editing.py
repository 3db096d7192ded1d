"""Editing and deleting in a whole running blog, through two copies of everything that is asked."""

import asyncio
from typing import Any, NamedTuple

import pytest
from aiohttp.test_utils import TestClient

from blog.testing.harness import RunningBlog

Client = TestClient[Any, Any]
ME = {"Blog-Author-Token": "my secret"}
SOMEBODY = {"Blog-Author-Token": "another secret"}


class Answer(NamedTuple):
    """What came back: `sequence` is that of the header, 0 without one."""

    status: int
    content: Any
    sequence: int


async def ask(
    client: Client, method: str, path: str, content: Any = None, headers: dict[str, str] = ME
) -> Answer:
    """Send a request; `content` goes as JSON."""
    async with client.request(method, path, json=content, headers=headers) as response:
        shown = await response.json(content_type=None) if response.status != 204 else None
        return Answer(response.status, shown, int(response.headers.get("Blog-Sequence", 0)))


class Rig(NamedTuple):
    """A post and a comment on it, of the same author; two copies of each service that is asked."""

    client: Client
    post: str
    comment: str
    versions: dict[str, int]

    async def put(
        self, path: str, content: dict[str, str], seen: int | None = None, headers: dict[str, str] = ME
    ) -> Answer:
        """Edit the version that was seen."""
        return await ask(self.client, "PUT", path, {**content, "sequence": seen}, headers)

    async def delete(self, path: str, headers: dict[str, str] = ME) -> Answer:
        """Delete."""
        return await ask(self.client, "DELETE", path, headers=headers)

    async def thread(self, after: int, headers: dict[str, str] = ME) -> Answer:
        """Read the comments from a view that has what was written."""
        headers = {**headers, "Blog-After": str(after)}
        return await ask(self.client, "GET", f"{self.post}/comments", headers=headers)

    async def settled(self, after: int, status: str) -> Any:
        """Wait until the comment has the status `status`."""
        async with asyncio.timeout(10):
            while True:
                [comment] = (await self.thread(after)).content
                if comment["status"] == status:
                    return comment
                await asyncio.sleep(0.01)


@pytest.fixture
async def rig(blog: RunningBlog, gateway_client: Client) -> Rig:
    """Write a post and a comment, with two copies running."""
    await blog.scale(posts=2, comments=2)
    post = await ask(gateway_client, "POST", "/posts", {"title": "Hello"})
    path = f"/posts/{post.content['id']}"
    comment = await ask(gateway_client, "POST", f"{path}/comments", {"content": "hi"})
    for written in (post, comment):
        assert (written.status, written.content["sequence"]) == (201, written.sequence)
    comment_path = f"{path}/comments/{comment.content['id']}"
    versions = {path: post.sequence, comment_path: comment.sequence}
    return Rig(gateway_client, path, comment_path, versions)


def texts(path: str, *words: str) -> list[dict[str, str]]:
    """Give one edit of the thing at `path` for each word."""
    name = "content" if "/comments/" in path else "title"
    return [{name: word} for word in words]


async def test_an_author_edits_through_any_replica(rig: Rig) -> None:
    """Each time the next version; a copy that lags behind what another wrote takes no wrong decision."""
    for path, version in rig.versions.items():
        for content in texts(path, *(f"edit {n}" for n in range(6))):
            response = await rig.put(path, content, version)
            assert response.status == 200, response
            assert content.items() <= response.content.items()
            assert response.content["edited_at"] > response.content["created_at"]
            assert response.sequence == response.content["sequence"] > version
            version = response.sequence  # noqa: PLW2901 - the version that was seen last


async def test_a_version_that_is_gone_is_a_conflict(rig: Rig) -> None:
    """409 with the current sequence, and nothing changed; without a version the last write wins."""
    for path, version in rig.versions.items():
        one, two, three = texts(path, "one", "two", "three")
        edited = await rig.put(path, one, version)
        refused = await rig.put(path, two, version)
        assert (refused.status, refused.content["sequence"]) == (409, edited.sequence)
        assert str(edited.sequence) in refused.content["detail"]
        assert (await rig.delete(f"{path}?sequence={version}")).status == 409
        assert (await rig.put(path, three)).status == 200


async def test_of_two_edits_of_one_version_one_wins(rig: Rig) -> None:
    """Whichever copies decide on them: exactly one 200 and one 409, again and again."""
    for path, version in rig.versions.items():
        for n in range(5):
            edits = texts(path, f"left {n}", f"right {n}")
            answers = await asyncio.gather(*(rig.put(path, e, version) for e in edits))
            assert sorted(response.status for response in answers) == [200, 409]
            version = max(response.sequence for response in answers)  # noqa: PLW2901 - as above


async def test_edits_of_no_version_in_particular_take_effect_one_after_the_other(rig: Rig) -> None:
    """The log overtakes all but one each time; they decide again, and what was written last is there."""
    for path in rig.versions:
        edits = texts(path, *(f"edit {n}" for n in range(12)))
        answers = await asyncio.gather(*(rig.put(path, edit) for edit in edits))
        assert {response.status for response in answers} == {200}
        assert len({response.sequence for response in answers}) == len(edits)
        last = max(zip(answers, edits, strict=True), key=lambda pair: pair[0].sequence)
        again = await rig.put(path, last[1])
        assert again.sequence == last[0].sequence


async def test_edits_of_many_comments_of_one_post_do_not_disturb_each_other(rig: Rig) -> None:
    """They share the post's key: the command decides again when the key moved on, nobody hears of it."""
    written = [
        await ask(rig.client, "POST", f"{rig.post}/comments", {"content": str(n)}) for n in range(10)
    ]
    answers = await asyncio.gather(
        *(
            rig.put(f"{rig.post}/comments/{c.content['id']}", {"content": "changed"}, c.sequence)
            for c in written
        )
    )
    assert {response.status for response in answers} == {200}


async def test_the_same_edit_again_returns_what_is_there(rig: Rig) -> None:
    """The gateway may send it to another copy once more: no second event, the same version."""
    for path, version in rig.versions.items():
        [content] = texts(path, "once")
        first = await rig.put(path, content, version)
        for _ in range(4):
            again = await rig.put(path, content, version)
            assert (again.status, again.sequence) == (200, first.sequence)
            assert content.items() <= again.content.items()


async def test_nobody_else_may(rig: Rig) -> None:
    """Another token, or none: 403, and what was written without one belongs to nobody."""
    for path in rig.versions:
        [content] = texts(path, "mine now")
        for headers in (SOMEBODY, {}):
            assert (await rig.put(path, content, headers=headers)).status == 403
            assert (await rig.delete(path, headers)).status == 403
    nobodys = await ask(rig.client, "POST", "/posts", {"title": "x"}, {})
    for headers in (ME, {}):
        assert (await rig.delete(f"/posts/{nobodys.content['id']}", headers)).status == 403


async def test_what_is_deleted_is_gone(rig: Rig) -> None:
    """404 for everybody and everything, but that deleting it again is fine for its author."""
    for path in reversed(rig.versions):
        [content] = texts(path, "too late")
        gone = await rig.delete(f"{path}?sequence={rig.versions[path]}")
        assert (gone.status, gone.content) == (204, None)
        again = await rig.delete(path)
        assert (again.status, again.sequence) == (204, gone.sequence)
        assert (await rig.put(path, content)).status == 404
        assert (await rig.delete(path, SOMEBODY)).status == 404
        thread = await rig.thread(gone.sequence)
        assert thread.status == (200 if path == rig.comment else 404)
    late = await ask(rig.client, "POST", f"{rig.post}/comments", {"content": "too late"})
    assert late.status == 404


async def test_an_edited_comment_is_moderated_again(rig: Rig) -> None:
    """Until then only its author sees what it says; a word from the list makes it rejected."""
    assert (await rig.settled(rig.versions[rig.comment], "approved"))["content"] == "hi"
    edited = await rig.put(rig.comment, {"content": "an orange"})
    assert edited.content["status"] == "pending"
    rejected = await rig.settled(edited.sequence, "rejected")
    assert (rejected["content"], rejected["sequence"]) == ("an orange", edited.sequence)
    [hidden] = (await rig.thread(edited.sequence, SOMEBODY)).content
    assert hidden["content"] is None
    edited = await rig.put(rig.comment, {"content": "an apple"})
    assert (await rig.settled(edited.sequence, "approved"))["content"] == "an apple"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("?sequence=x", None),
        ("?sequence=0", None),
        ("", {"title": ""}),
        ("", {"title": "x", "sequence": 0}),
    ],
)
async def test_what_is_no_edit_is_refused(rig: Rig, path: str, content: Any) -> None:
    """422, before anybody decides."""
    method = "PUT" if content else "DELETE"
    assert (await ask(rig.client, method, rig.post + path, content)).status == 422
