"""A whole blog: how soon it answers after `blog up`, and requests through its gateway.

Every process and the load share all cores, as they would on a small machine.
"""

import statistics
import time
from typing import NamedTuple

from benchmarks import load, ours
from benchmarks.bus.report import Section, Size

CALLERS = (1, 32)
STARTS = ("without any data", "with the data of the one before")
KINDS = ("GET /posts/{id}", "POST /posts")

_WRITE = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"title": "A post"}'
"""


class Requests(NamedTuple):
    """What one run of requests came to; latencies in ms."""

    per_second: float
    p50: float
    p99: float


def start_up(size: Size) -> Section:
    """Measure how long `blog up` takes until somebody can read and write."""
    found: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(size.rounds):
        with ours.place() as at:
            for name, seconds in found.items():
                began = time.perf_counter()
                with ours.blog_up(at, ours.answers):
                    seconds.append(time.perf_counter() - began)
                print(f"{number + 1}/{size.rounds}  {name}: {seconds[-1]:.2f} s", flush=True)
    table = [["`blog up`", "seconds until it can be read and written, median", "slowest"]]
    table += [
        [name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]
        for name, seconds in found.items()
    ]
    return Section("Starting a whole blog", table, [], [], {"seconds": found})


def requests(size: Size) -> Section:
    """Measure in turn how fast a post is read and another one written, by one caller and by many."""
    found: dict[str, dict[int, list[Requests]]] = {kind: {n: [] for n in CALLERS} for kind in KINDS}
    for number in range(size.rounds):
        with ours.whole_blog() as (up, asking):
            script = up.printed.parent / "write.lua"
            script.write_text(_WRITE)
            path = f"/posts/{asking.post('/posts', {'title': 'Read me'})['id']}"
            for kind, by_callers in found.items():
                for callers, runs in by_callers.items():
                    url = f"http://127.0.0.1:{up.port}{'/posts' if kind == KINDS[1] else path}"
                    lua = script if kind == KINDS[1] else None
                    took = load.wrk(ours.EVERY_CORE, url, size.seconds, script=lua, connections=callers)
                    runs.append(Requests(took.requests / took.seconds, took.p50_ms, took.p99_ms))
                    said = f"{number + 1}/{size.rounds}  {kind}, {callers} callers"
                    print(f"{said}: {runs[-1].per_second:.0f}/s", flush=True)
    return section(found)


def section(found: dict[str, dict[int, list[Requests]]]) -> Section:
    """Say what was found: of each figure the median of the rounds."""
    medians = {
        kind: {n: Requests(*map(statistics.median, zip(*runs, strict=True))) for n, runs in rows.items()}
        for kind, rows in found.items()
    }
    table = [["request", "callers", "per second", "p50 ms", "p99 ms"]]
    for kind, rows in medians.items():
        for callers, run in rows.items():
            table.append(
                [kind, str(callers), f"{run.per_second:,.0f}", f"{run.p50:.2f}", f"{run.p99:.2f}"]
            )
    figures = {kind: {n: run._asdict() for n, run in rows.items()} for kind, rows in medians.items()}
    return Section("Requests to a whole blog, through the gateway", table, [], [], figures)
