"""The checks of the chaos tests can fail: what is tampered with is found, whatever it is."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from blog.bus.log.schema import chain_hash
from blog.testing.harness import running_blog
from tests.e2e.notes import Told
from tests.e2e.rows import applied, hashed, log_file, view_files
from tests.e2e.soundness import problems

COMMENTS = 6
Tamper = Callable[[sqlite3.Connection], object]


async def written(folder: Path) -> Told:
    """Run a blog; write a post and comments, and wait until every view has seen them settled."""
    async with running_blog(folder) as blog, aiohttp.ClientSession(blog.url) as http:
        async with http.post("/posts", json={"title": "post"}) as answer:
            path = f"{answer.headers['Location']}/comments"
            told = {"post": {int(answer.headers["Blog-Sequence"])}}
        for n in range(COMMENTS):
            async with http.post(path, json={"content": f"comment-{n}"}) as answer:
                told[f"comment-{n}"] = {int(answer.headers["Blog-Sequence"])}
        async with asyncio.timeout(10):
            while any(applied(file) < 1 + 3 * COMMENTS for file in view_files(folder)):
                await asyncio.sleep(0.01)
    return told


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """Give the data of a small blog, and what its writer was told."""
    folder = tmp_path_factory.mktemp("original")
    return folder, asyncio.run(written(folder))


@pytest.fixture
def data(original: tuple[Path, Told], tmp_path: Path) -> Path:
    """Give a copy to tamper with."""
    return Path(shutil.copytree(original[0], tmp_path / "data"))


def change(path: Path, tamper: Tamper) -> None:
    """Change a file of SQLite."""
    with closing(sqlite3.connect(path)) as db, db:
        tamper(db)


def rechain_hash(db: sqlite3.Connection) -> None:
    """Make the hashes fit again, as somebody would who knows how."""
    before = b""
    for sequence, envelope in db.execute("SELECT sequence, envelope FROM events ORDER BY 1").fetchall():
        before = chain_hash(before, envelope)
        db.execute("UPDATE events SET hash = ? WHERE sequence = ?", (before, sequence))


def again(type_: str) -> Tamper:
    """Append the first event of a type once more, under another id."""

    def tamper(db: sqlite3.Connection) -> None:
        [envelope] = db.execute("SELECT envelope FROM events WHERE type = ?", (type_,)).fetchone()
        [head] = db.execute("SELECT max(sequence) FROM events").fetchone()
        event: dict[str, Any] = json.loads(envelope) | {"id": "again", "sequence": head + 1}
        row = (head + 1, "again", type_, event["subject"], json.dumps(event), b"")
        db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
        rechain_hash(db)

    return tamper


def exchanged(type_: str) -> Tamper:
    """Have two events of a type in each other's place."""

    def tamper(db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT sequence, envelope FROM events WHERE type = ? LIMIT 2", (type_,))
        (one, first), (two, second) = rows.fetchall()
        for sequence, envelope in ((one, second), (two, first)):
            event = json.loads(envelope) | {"sequence": sequence}
            # an id for a moment, as each is there once
            db.execute("UPDATE events SET id = ? WHERE sequence = ?", (f"x{sequence}", sequence))
            text = json.dumps(event)
            db.execute("UPDATE events SET envelope = ? WHERE sequence = ?", (text, sequence))
        db.execute("UPDATE events SET id = json_extract(envelope, '$.id')")
        rechain_hash(db)

    return tamper


def sql(text: str) -> Tamper:
    """Run a statement."""
    return lambda db: db.execute(text)


def test_nothing_is_wrong_with_what_nobody_touched(data: Path, original: tuple[Path, Told]) -> None:
    """Before the tampering."""
    assert problems(data, original[1]) == []


@pytest.mark.parametrize("file", ["query/0.db", "comments/0.db"])
@pytest.mark.parametrize(
    "tamper",
    [
        sql("UPDATE comments SET status = 'rejected' WHERE content = 'comment-1'"),
        sql("UPDATE comments SET content = 'comment-9' WHERE content = 'comment-1'"),
        sql("DELETE FROM comments WHERE content = 'comment-1'"),
        sql("DELETE FROM posts"),
        sql("CREATE TABLE more (id)"),
        sql("ALTER TABLE posts RENAME TO others"),
        sql("UPDATE view_position SET applied = applied - 1"),
    ],
)
def test_a_row_of_a_view_that_was_changed_is_found(
    data: Path, original: tuple[Path, Told], file: str, tamper: Tamper
) -> None:
    """Another value, a row less, a table too many or too few; rows of later than the file says."""
    change(data / file, tamper)
    found = problems(data, original[1])
    assert found
    assert all(line.startswith(f"{file}: ") for line in found)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (sql("UPDATE events SET envelope = replace(envelope, 'comment-3', 'comment-4')"), "hash"),
        (sql("DELETE FROM events WHERE sequence = 3"), "3 is missing"),
        (again("blog.CommentCreated"), "comment-0: 2 times in the log"),
        (again("blog.CommentModerated"), "2 times blog.CommentModerated"),
        (again("blog.CommentUpdated"), "2 times blog.CommentUpdated"),
        (exchanged("blog.CommentModerated"), "CommentModerated out of order"),
        (exchanged("blog.CommentUpdated"), "CommentUpdated out of order"),
        (exchanged("blog.CommentCreated"), "was told to be"),
    ],
)
def test_an_event_that_was_changed_is_found(
    data: Path, original: tuple[Path, Told], tamper: Tamper, said: str
) -> None:
    """Changed, gone, twice, or in another's place: even by somebody who makes the hashes fit."""
    change(log_file(data), tamper)
    assert said in "\n".join(problems(data, original[1]))


@pytest.mark.parametrize("told", [{"comment-0": {99}}, {"comment-0": {3}}, {"nothing": {2}}])
def test_what_was_told_and_is_not_so_is_found(
    data: Path, original: tuple[Path, Told], told: Told
) -> None:
    """A sequence that is not there, or another event's, or an event that is not there."""
    assert "was told to be" in "\n".join(problems(data, original[1] | told))


def test_a_full_text_index_is_compared_by_the_words_it_finds() -> None:
    """However its parts were written and merged; a word that it cannot find is a difference."""

    def index(*statements: str) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:")
        db.executescript("CREATE VIRTUAL TABLE words USING fts5(text)")
        for statement in statements:
            db.execute(statement)
        return db

    insert = "INSERT INTO words (rowid, text) VALUES "
    at_once = index(f"{insert} (1, 'green apple'), (2, 'red pear')")
    merged = index(
        f"{insert} (1, 'blue')", f"{insert} (2, 'red pear')", "DELETE FROM words WHERE rowid = 1",
        f"{insert} (1, 'green apple')", "INSERT INTO words (words) VALUES ('optimize')",
    )  # fmt: skip
    other = index(f"{insert} (1, 'green apple'), (2, 'red pears')")
    with closing(at_once), closing(merged), closing(other):
        assert hashed(at_once, "words") == hashed(merged, "words") != hashed(other, "words")
