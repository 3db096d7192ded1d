"""Logs to measure views with, written straight into the file: posts, each with approved comments.

`blog bus` makes the file; rows are as it would have written them, hashes included, so that
`blog log verify` finds it sound.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks import ours

COMMENTS = 10
"""Of each post."""
PER_POST = 1 + 2 * COMMENTS
"""Events that a view takes: the post, and two for each comment."""
_AT = "2026-01-01T00:00:00Z"
_WORDS = "A comment of about a hundred characters, as people write them under a post that they liked. "


class Row(NamedTuple):
    """An event before it has its place in the log."""

    id: str
    type: str
    key: str
    data: dict[str, str]


def write_log(data: Path, posts: int) -> int:
    """Make a log with so many posts in the data directory `data`; return how many events it has."""
    with ours.stage() as stage:
        stage.run("bus", data=data)  # makes the file
    with closing(sqlite3.connect(data / "bus" / "log.db", isolation_level=None)) as db:
        # quickly: nobody else has the file, and all of it is kept in memory until the end
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-1000000")
        db.execute("BEGIN")
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", sealed(all_rows(posts)))
        db.execute("COMMIT")
    return posts * PER_POST


def all_rows(posts: int) -> Iterator[Row]:
    """Give the events of every post, one post after the other."""
    for n in range(posts):
        yield from rows_of(n)


def post_id(number: int) -> str:
    """Return the id of a post; ids sort by number."""
    return f"00000000-0000-7000-8000-{number:012d}"


def rows_of(number: int) -> Iterator[Row]:
    """Give the events of one post."""
    post = post_id(number)
    said = {"title": f"Post {number}", "body": "Its text.", "author": "bench", "created_at": _AT}
    yield Row(f"p{number}", "blog.PostCreated", post, {"id": post, **said})
    for n in range(COMMENTS):
        about = {
            "id": f"{post[:24]}{number * COMMENTS + n:012d}",
            "post_id": post,
            "content": f"{_WORDS}{n}",
        }
        written = about | {"author": "bench", "created_at": _AT}
        yield Row(f"c{number}-{n}", "blog.CommentCreated", post, written)
        yield Row(f"u{number}-{n}", "blog.CommentUpdated", post, about | {"status": "approved"})


def sealed(rows: Iterator[Row]) -> Iterator[tuple[int, str, str, str, str, bytes]]:
    """Give each event its place, as the log does."""
    before = b""
    head = f'{{"specversion":"1.0","source":"/bench","time":"{_AT}","datacontenttype":"application/json",'
    for sequence, row in enumerate(rows, 1):
        names = f'"id":"{row.id}","type":"{row.type}","subject":"{row.key}"'
        envelope = f'{head}{names},"data":{json.dumps(row.data)},"sequence":{sequence}}}'
        before = hashlib.sha256(before + envelope.encode()).digest()
        yield sequence, row.id, row.type, row.key, envelope, before
