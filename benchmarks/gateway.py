"""Measures our gateway and other reverse proxies side by side: same machine, same upstreams, same load.

Core 0 belongs to the proxies, core 1 to the load, the upstreams and this process. Each figure is the
median of interleaved rounds. What counts is the CPU time per request: it does not depend on who loads.
"""

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from benchmarks import load, peers
else:  # run as a script, beside its neighbours
    import load
    import peers

PROXY_CORE, LOAD_CORE = 0, 1
IDLE = 1000
RATE = 2000.0
MB, KB = 1e6, 1e3
Figures = dict[str, float]


class Span(NamedTuple):
    """How often and how long (seconds) something is measured."""

    rounds: int
    seconds: float


class Spans(NamedTuple):
    """How long everything takes."""

    main: Span
    sizes: Span
    rate: Span
    table: Span


FULL = Spans(main=Span(3, 5), sizes=Span(1, 3), rate=Span(3, 4), table=Span(3, 3))
QUICK = Spans(main=Span(1, 2), sizes=Span(1, 1), rate=Span(1, 3), table=Span(1, 2))


@dataclass
class Row:
    """A proxy that runs, and what was measured of it."""

    name: str
    at: peers.Running
    leases: peers.Leases | None
    rounds: dict[str, list[Figures]] = field(default_factory=dict)

    def median(self, measure: str) -> Figures:
        """Return the median of each figure of a measure."""
        rounds = self.rounds[measure]
        return {key: round(statistics.median(one[key] for one in rounds), 4) for key in rounds[0]}


Measure = Callable[[Row, float], Figures]


def cost(path: str, *, close: bool = False) -> Measure:
    """Make the measure that loads `path` as fast as it goes."""

    def measured(row: Row, seconds: float) -> Figures:
        url = f"http://127.0.0.1:{row.at.port}{path}"
        cpu, began = load.cpu_seconds(row.at.pid), time.perf_counter()
        found = load.wrk(LOAD_CORE, url, seconds, close=close)
        cpu, took = load.cpu_seconds(row.at.pid) - cpu, time.perf_counter() - began
        return {
            "cpu_us": cpu / found.requests * 1e6,
            "per_second": found.requests / found.seconds,
            "p50_ms": found.p50_ms,
            "p99_ms": found.p99_ms,
            "mb_per_second": found.bytes / found.seconds / MB,
            "core_used": cpu / took,
        }

    return measured


def late(row: Row, seconds: float) -> Figures:
    """Measure latencies at a fixed rate, counted from when a request was due."""
    cpu = load.cpu_seconds(row.at.pid)
    took = load.at_rate(LOAD_CORE, row.at.port, "/things", RATE, seconds)
    cpu = load.cpu_seconds(row.at.pid) - cpu
    return {
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[len(took) * 99 // 100],
        "max_ms": took[-1],
        "cpu_us": cpu / (len(took) + RATE / 2) * 1e6,  # half a second of warm-up
    }


def held(row: Row, _: float) -> Figures:
    """Measure its memory without and with idle connections."""
    alone = load.memory(row.at.pid)
    found = load.memory_with(row.at.pid, row.at.port, "/things", IDLE)
    return {
        "alone_rss_mb": alone.rss / MB,
        "alone_pss_mb": alone.pss / MB,
        "rss_mb": found.rss / MB,
        "pss_mb": found.pss / MB,
        "kb_per_connection": (found.pss - alone.pss) / IDLE / KB,
    }


def measure(name: str, rows: list[Row], by: Measure, span: Span) -> None:
    """Measure all rows in turn, round after round; leases are renewed in between."""
    for number in range(span.rounds):
        for row in rows:
            if row.leases:
                row.leases.renew()
            figures = by(row, span.seconds)
            row.rounds.setdefault(name, []).append(figures)
            shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(f"{name} {number + 1}/{span.rounds}  {row.name}: {shown}", flush=True)


class Stage:
    """Two upstreams and the proxies in front of them; all end with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-")))
        self.missing: dict[str, str] = {}
        self._upstreams = (peers.free_port(), 0)
        self._upstreams = (self._upstreams[0], peers.free_port())
        self.upstream: peers.Running
        for port in self._upstreams:
            self.upstream = self._start("upstream", peers.upstream, port, LOAD_CORE, self._stack)

    def _start(
        self, name: str, plan: Callable[[peers.Place], peers.Plan], port: int, core: int, stack: ExitStack
    ) -> peers.Running:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        place = peers.Place(folder, port, self._upstreams)
        return stack.enter_context(peers.running(name, plan(place), place, core))

    def row(self, name: str, services: dict[str, int] | None = None) -> Row | None:
        """Start a proxy; one that cannot is noted. Ours may be in the middle of an edit: try again."""
        plan = peers.PLANS[name.partition(":")[0]]
        for attempt in range(4 if name.startswith("ours") else 1):
            time.sleep(5 if attempt else 0)
            with ExitStack() as stack:
                try:
                    at = self._start(name, plan, peers.free_port(), PROXY_CORE, stack)
                    made = self._lead(name, at, services or {"things": 2})
                except (peers.Missing, OSError, SystemExit) as why:
                    self.missing[name] = str(why)
                    print(f"{name} is missing: {why}", flush=True)
                    continue
                self._stack.push(stack.pop_all())
                self.missing.pop(name, None)
                return made
        return None

    def _lead(self, name: str, at: peers.Running, services: dict[str, int]) -> Row:
        """Enter the upstreams where that is needed, and see that both take their turns."""
        leases = None
        if at.plan.admin:
            leases = peers.Leases(at.plan.admin, services, self._upstreams)
            peers.until(lambda: is_ready(leases), 20, "no instance was admitted")
        key = "blog-served-by" if leases else "upstream"
        seen: set[str] = set()
        peers.until(lambda: self._seen(at.port, key, seen), 10, f"of two upstreams only {seen} are asked")
        return Row(name, at, leases)

    @staticmethod
    def _seen(port: int, key: str, seen: set[str]) -> bool:
        try:
            with load.dial(port) as connection:
                seen |= {load.ask(connection, "/things").headers.get(key, "") for _ in range(4)}
        except (OSError, SystemExit):
            return False  # not ready yet
        return len(seen - {""}) >= 2


def is_ready(leases: peers.Leases) -> bool:
    """Tell whether our registry has taken all leases."""
    try:
        leases.renew()
    except peers.Missing:
        return False
    return True
