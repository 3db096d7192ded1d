"""Views: how fast an empty one catches up, what it costs in memory, and reading it when it is large.

A real `blog query` beside a real `blog bus`, on both cores. Pages are asked of the one query instance
itself, by wrk; the post and the comments on a page are alike in a small and in a large blog.
"""

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import load, ours
from benchmarks.bus import logs
from benchmarks.bus.report import Section, Size, at_least
from benchmarks.programs import LOAD_CORE, PROXY_CORE

EVENTS = 1_000_000
CONNECTIONS = 32
SMALL, LARGE = 1_000, 1_000_000
"""Comments."""
PATIENCE = 600.0
MB = 1e6
SAME = 0.85
"""The share of the small blog's pages per second that the large one has to reach."""

_PAGE = """
local turn = 0
function request()
  turn = turn + 1
  wrk.headers["Blog-Author-Token"] = AUTHOR
  return wrk.format("GET", wrk.path)
end
"""
AUTHORS = {"anybody": "nil", "an author each": 'string.format("%016x", turn * 2654435761)'}
"""What wrk sends as `Blog-Author-Token`: with one of its own, no page was ever rendered before."""


class Caught(NamedTuple):
    """An empty view that caught up: events, seconds, and bytes that bus and query then held."""

    events: int
    seconds: float
    bus: int
    query: int

    @property
    def per_second(self) -> float:
        """Events per second."""
        return self.events / self.seconds


def catch_up(size: Size) -> Section:
    """Measure how long an empty view takes to be ready; the same log each time."""
    posts = size.few(EVENTS, 50_000) // logs.PER_POST
    runs: list[Caught] = []
    with tempfile.TemporaryDirectory(prefix="bench-bus-") as folder:
        data = Path(folder)
        events = logs.write_log(data, posts)
        for number in range(size.rounds):
            runs.append(caught_up(data, events))
            print(
                f"{number + 1}/{size.rounds}  {runs[-1].per_second:.0f} events/s {runs[-1]}", flush=True
            )
    rate = statistics.median(run.per_second for run in runs)
    run = max(runs, key=lambda each: each.bus + each.query)
    table = [["events", "events/s", "bus, MB", "query, MB"]]
    held = [f"{run.bus / MB:.0f}", f"{run.query / MB:.0f}"]
    table.append([f"{events:,}", f"{rate:,.0f}", *held])
    promise = at_least("an empty view catches up, >= 25,000 events/s", rate, 25_000, "/s")
    notes = [
        "from the start of its process until it is ready; MB: RSS right after that, the most of all runs"
    ]
    figures: dict[str, Any] = {"runs": [one._asdict() for one in runs]}
    return Section("Catching up of an empty view", table, [promise], notes, figures)


def caught_up(data: Path, events: int) -> Caught:
    """Start a bus with the log in `data`, and a query instance without anything."""
    with ours.stage() as stage:
        bus = stage.run("bus", data=data)
        stage.wait_until_ready("bus")
        began = time.perf_counter()
        query = stage.run("query")
        stage.wait_until_ready("query", seconds=PATIENCE)
        took = time.perf_counter() - began
        return Caught(events, took, load.memory(bus.pid).rss, load.memory(query.pid).rss)


def pages(size: Size) -> Section:
    """Measure in turn the first and the last page of a small and of a large blog, cached or not."""
    large = size.few(LARGE, 20_000)
    found: dict[str, dict[int, list[float]]] = {}
    with ExitStack() as stack:
        blogs = {count: Blog(stack, count) for count in (SMALL, large)}
        for number in range(size.rounds):
            for name, (path, author) in kinds().items():
                for count, blog in blogs.items():
                    rate = blog.per_second(path, author, size.seconds)
                    found.setdefault(name, {}).setdefault(count, []).append(rate)
                    print(f"{number + 1}/{size.rounds}  {name}, {count}: {rate:.0f}/s", flush=True)
    table = [["pages per second", f"{SMALL:,} comments", f"{large:,} comments", "large beside small"]]
    shares = {}
    for name, rates in found.items():
        few, many = (statistics.median(rates[count]) for count in (SMALL, large))
        shares[name] = many / few
        table.append([name, f"{few:,.0f}", f"{many:,.0f}", f"{shares[name]:.2f} x"])
    promise = at_least("GET /posts the same within 15 % at both sizes", min(shares.values()), SAME, " x")
    last = "GET /posts: the last page as the first, at the larger size"
    ratio = statistics.median(found["last page, an author each"][large])
    ratio /= statistics.median(found["first page, an author each"][large])
    notes = [f"20 posts on a page, each with {logs.COMMENTS} comments; wrk, {CONNECTIONS} connections"]
    figures = {name: {str(count): rates[count] for count in rates} for name, rates in found.items()}
    return Section("GET /posts", table, [promise, at_least(last, ratio, SAME, " x")], notes, figures)


def kinds() -> dict[str, tuple[str, str]]:
    """Name the pages: path, and what is sent as the author's token."""
    # 20 posts come before the 21st
    last = f"/posts?before={logs.post_id(20)}"
    paths = {"first page": "/posts", "last page": last}
    return {
        f"{page}, {who}": (path, token) for page, path in paths.items() for who, token in AUTHORS.items()
    }


class Blog:
    """A log with so many comments, and one query instance that has caught up with it."""

    def __init__(self, stack: ExitStack, comments: int) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-bus-")))
        logs.write_log(self._folder, comments // logs.COMMENTS)
        stage = stack.enter_context(ours.stage())
        stage.run("bus", data=self._folder)
        self._query = stage.run("query", PROXY_CORE)
        stage.wait_until_ready("query", seconds=PATIENCE)

    def per_second(self, path: str, author: str, seconds: int) -> float:
        """Load a page as fast as it goes."""
        script = self._folder / "page.lua"
        script.write_text(_PAGE.replace("AUTHOR", author))
        url = f"http://127.0.0.1:{self._query.port}{path}"
        with ours.client(self._query.port) as asking:
            if len(shown := asking.get(path)) != 20:
                raise SystemExit(f"{path}: there are {len(shown)} posts on the page, not 20")
        found = load.wrk(LOAD_CORE, url, seconds, script=script, connections=CONNECTIONS)
        return found.requests / found.seconds
