"""The whole chain: comments posted through the gateway of a `blog up`, until all are seen approved.

wrk writes from 64 connections; the blog and wrk share both cores, as they would on a small machine. What
counts is the time from the first comment sent until the last one is read back as approved.
"""

import json
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import load, ours, programs
from benchmarks.bus.report import Promise, Section, Size, at_least, at_most

CALLERS = 64
MANY = 100
ALONE = 50
SECONDS = 10
SETTLED_WITHIN = 120.0
PROMISED = {MANY: 1500, 1: 800}
"""Settled comments per second, by number of posts."""

_COMMENTS = """
local turn, paths = 0, {PATHS}
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  turn = turn + 1
  local body = '{"author":"bench","content":"' .. string.rep("words ", 16) .. turn .. '"}'
  return wrk.format(nil, paths[turn % #paths + 1], nil, body)
end
"""


class Chain(NamedTuple):
    """What came of one run: comments, seconds of writing, and seconds until all were approved."""

    comments: int
    writing: float
    settled: float

    @property
    def per_second(self) -> float:
        """Settled comments per second."""
        return self.comments / self.settled


def measured(size: Size) -> Section:
    """Measure in turn: over many posts, on one, and a comment alone; a fresh blog each time."""
    chains: dict[int, list[Chain]] = {MANY: [], 1: []}
    alone: list[float] = []
    for number in range(size.rounds):
        for posts, runs in chains.items():
            runs.append(chain(posts, size.few(max(SECONDS, size.seconds), 3)))
            print(f"{number + 1}/{size.rounds}  {posts} posts: {runs[-1].per_second:.0f}/s {runs[-1]}")
        alone += single(size.few(ALONE, 10))
        print(f"{number + 1}/{size.rounds}  alone: p50 {statistics.median(alone):.1f} ms", flush=True)
    return section(chains, sorted(alone))


def chain(posts: int, seconds: int) -> Chain:
    """Let wrk write comments for so long; wait until every one is read back as approved."""
    with ours.whole_blog() as (up, asking):
        ids = [str(asking.post("/posts", {"title": f"Post {n}"})["id"]) for n in range(posts)]
        folder = up.printed.parent
        script = folder / "comments.lua"
        paths = ", ".join(f'"/posts/{id_}/comments"' for id_ in ids)
        script.write_text(_COMMENTS.replace("PATHS", paths))
        with closing(LogTail(folder / "data" / "bus" / "log.db")) as log:
            began = time.perf_counter()
            url = f"http://127.0.0.1:{up.port}/"
            wrote = load.wrk(ours.EVERY_CORE, url, seconds, script=script, connections=CALLERS)
            writing = time.perf_counter() - began
            programs.until(log.is_settled, SETTLED_WITHIN, "comments are not all settled")
            last = {id_: log.comments[id_][-2:] for id_ in ids}
            programs.until(lambda: all_seen(asking, last), SETTLED_WITHIN, "not all are seen as approved")
            settled = time.perf_counter() - began
            count = counted(asking, {id_: log.comments[id_] for id_ in ids})
        if count < wrote.requests:
            raise SystemExit(f"{wrote.requests} comments were acknowledged, {count} are there")
        return Chain(count, writing, settled)


class LogTail:
    """Reads on in the log's file: which comments were written, and how many have been settled."""

    def __init__(self, path: Path) -> None:
        self.comments: dict[str, list[str]] = {}
        self._open = 0
        self._after = 0
        self._db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)

    def is_settled(self) -> bool:
        """Return whether every comment that was written has got its status."""
        rows = self._db.execute(
            "SELECT sequence, type, key, envelope FROM events WHERE sequence > ? ORDER BY sequence",
            (self._after,),
        )
        is_new = False
        for self._after, type_, key, envelope in rows:
            is_new = True
            if type_ == "blog.CommentCreated":
                self.comments.setdefault(key, []).append(json.loads(envelope)["data"]["id"])
                self._open += 1
            self._open -= type_ == "blog.CommentUpdated"
        return not is_new and self._open == 0

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def all_seen(asking: ours.Client, last: dict[str, list[str]]) -> bool:
    """Return whether the last comment of each post is seen as approved: the others came before it."""
    return all(is_seen(asking, post, ids[-1], ids[0] if ids[1:] else "") for post, ids in last.items())


def is_seen(asking: ours.Client, post: str, comment: str, before: str) -> bool:
    """Return whether `comment`, the one after `before`, is approved."""
    found = asking.get(f"/posts/{post}/comments?limit=1&after={before}")
    return [(one["id"], one["status"]) for one in found] == [(comment, "approved")]


def counted(asking: ours.Client, wanted: dict[str, list[str]]) -> int:
    """Read every comment; each one of `wanted` has to be there once, in order and approved."""
    for post, ids in wanted.items():
        found: list[str] = []
        while page := asking.get(f"/posts/{post}/comments?limit=1000&after={found[-1] if found else ''}"):
            if any(one["status"] != "approved" for one in page):
                raise SystemExit(f"{post}: not every comment is approved")
            found += [one["id"] for one in page]
        if found != ids:
            raise SystemExit(f"{post}: {len(ids)} comments are in the log, {len(found)} are shown")
    return sum(map(len, wanted.values()))


def single(count: int) -> list[float]:
    """Return how long (ms) each of some single comments took until the read side showed it approved."""
    took = []
    with ours.whole_blog() as (_, asking):
        for n in range(count):
            path = f"/posts/{asking.post('/posts', {'title': f'Post {n}'})['id']}"
            programs.until(lambda: asking.ask("GET", path).status == 200, 10, "no post")  # noqa: B023
            began = time.perf_counter()
            asking.post(f"{path}/comments", {"content": "seen"})
            while b'"approved"' not in asking.ask("GET", path).body:
                if time.perf_counter() - began > 10:
                    raise SystemExit(f"{path}: its comment was not approved")
            took.append((time.perf_counter() - began) * 1000)
    return took


def section(chains: dict[int, list[Chain]], alone: list[float]) -> Section:
    """Say what was found."""
    rates = {n: statistics.median(run.per_second for run in runs) for n, runs in chains.items()}
    table = [["comments over", "settled/s", "written/s", "comments", "seconds until all are approved"]]
    for posts, runs in chains.items():
        run = sorted(runs, key=lambda each: each.per_second)[len(runs) // 2]
        written = f"{run.comments / run.writing:,.0f}"
        figures = [f"{rates[posts]:,.0f}", written, f"{run.comments:,}", f"{run.settled:.1f}"]
        table.append([f"{posts} post{'s'[: posts - 1]}", *figures])
    promises: list[Promise] = [
        at_least(f"settled over {n} post{'s'[: n - 1]} >= {limit:,}/s", rates[n], limit, "/s")
        for n, limit in PROMISED.items()
    ]
    p50 = statistics.median(alone)
    promises.append(at_most("one comment alone is seen approved within 15 ms (p50)", p50, 15, " ms"))
    figures_: dict[str, Any] = {
        "runs": {n: [run._asdict() for run in runs] for n, runs in chains.items()},
        "alone_ms": [round(each, 2) for each in alone],
    }
    notes = [f"alone: p50 {p50:.1f} ms, slowest {alone[-1]:.1f} ms of {len(alone)}; nothing was lost"]
    return Section("The whole chain, through the gateway", table, promises, notes, figures_)
