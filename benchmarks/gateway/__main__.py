"""Measures our gateway and other reverse proxies side by side: same machine, same upstreams, same load.

Core 0 belongs to the proxies, core 1 to the load, the upstreams and this process. Each figure is the
median of interleaved rounds. What counts is the CPU time per request: it does not depend on who loads.
"""

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from benchmarks import load, programs
from benchmarks.gateway import proxies
from benchmarks.gateway.report import CROWDS, IDLE, KB, MB, RATE, goals, markdown
from benchmarks.gateway.stage import Row, Stage
from benchmarks.programs import LOAD_CORE, PROXY_CORE
from benchmarks.record import RESULTS, Figures, keep, machine


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

    def of(self, rounds: int) -> "Spans":
        """Return the same with so many rounds of everything."""
        return Spans(*(span._replace(rounds=rounds) for span in self))


FULL = Spans(main=Span(3, 5), sizes=Span(1, 3), rate=Span(3, 4), table=Span(3, 3))
QUICK = Spans(main=Span(1, 2), sizes=Span(1, 1), rate=Span(1, 3), table=Span(1, 2))


Measure = Callable[[Row, float], Figures]


def cost(path: str, *, close: bool = False, script: Path | None = None) -> Measure:
    """Make the measure that loads `path` as fast as it goes."""

    def measured(row: Row, seconds: float) -> Figures:
        url = row.origin + path
        asked = row.asked()
        cpu, began = load.cpu_seconds(row.at.pid), time.perf_counter()
        found = load.wrk(LOAD_CORE, url, seconds, close=close, script=script)
        cpu, took = load.cpu_seconds(row.at.pid) - cpu, time.perf_counter() - began
        if (asked := row.asked() - asked) < found.requests:
            raise SystemExit(f"{url}: {found.requests} answers, but upstreams were asked {asked} times")
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


def side_by_side(names: list[str], spans: Spans, result: dict[str, Any]) -> list[Row]:
    """Measure all proxies that start; note how they were configured, and who is missing."""
    with ExitStack() as stack:
        stage = Stage(stack)
        rows = [row for name in names if (row := stage.row(name, {"things": 2}))]
        measure("warm-up", rows, cost("/things"), Span(1, 1))
        measure("memory", rows, held, Span(1, 0))
        measure("things", rows, cost("/things"), spans.main)
        for who, text in load.VARIED.items():
            script = stage.folder / f"{who}.lua"
            script.write_text(text)
            measure(who, rows, cost(f"/things/{who}", script=script), spans.table)
        measure("rate", rows, late, spans.rate)
        measure("64k", rows, cost("/things/64k"), spans.sizes)
        measure("1m", rows, cost("/things/1m"), spans.sizes)
        measure("close", rows, cost("/things", close=True), spans.sizes)
        result["missing"] = stage.missing
        result["upstream"] = {"nginx.conf": stage.upstream.plan.files["nginx.conf"]}
        result["rows"] = {row.name: told(row) for row in rows}
    return rows


def told(row: Row) -> dict[str, Any]:
    """Return all that is known of a row. Who is in the table has made no error: one ends the run."""
    plan = row.at.plan
    program = "ours" if plan.admin else plan.program
    return {
        "version": programs.version_of(program, plan.root),
        "log": plan.log,
        "errors": 0,
        "configuration": {"arguments": plan.arguments, "environment": plan.environ, "files": plan.files},
        "median": {name: row.median(name) for name in row.rounds},
        "rounds": row.rounds,
    }


def over_tls(names: list[str], spans: Spans, result: dict[str, Any]) -> list[Row]:
    """Measure ours, the one before and nginx over TLS; note one that does not answer."""
    with ExitStack() as stack:
        stage = Stage(stack)
        made = [
            stage.row(f"{name}: TLS", {"things": 2}, tls=True)
            for name in ("ours", "before", "nginx")
            if name in names
        ]
        rows = [row for row in made if row and answers(row, stage.missing)]
        measure("things", rows, cost("/things"), spans.main)
        measure("1m", rows, cost("/things/1m"), spans.sizes)
        measure("close", rows, cost("/things", close=True), spans.sizes)
        result["tls"] = {row.name: told(row) for row in rows}
        result["missing"] |= stage.missing
    return rows


def answers(row: Row, missing: dict[str, str]) -> bool:
    """Warm a row up; note why it cannot take part."""
    try:
        measure("warm-up", [row], cost("/things"), Span(1, 1))
    except SystemExit as why:
        missing[row.name] = " ".join(str(why).split())
        return False
    return True


def crowded(spans: Spans, result: dict[str, Any]) -> list[Row]:
    """Measure ours with few and many instances."""
    with ExitStack() as stack:
        stage = Stage(stack)
        rows = [row for name, services in CROWDS.items() if (row := stage.row(name, services))]
        measure("warm-up", rows, cost("/things"), Span(1, 1))
        measure("things", rows, cost("/things"), spans.table)
        result["table"] = {row.name: told(row) for row in rows}
        result["missing"] |= stage.missing
    return rows


def prepare(names: list[str]) -> None:
    """Take our core and enough files, and let a SIGTERM unwind as Ctrl-C does."""
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("This needs two cores: one for the proxy, one for the load.")
    os.sched_setaffinity(0, {LOAD_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, _terminate)
    for wrong in programs.install(names):
        print(wrong, file=sys.stderr)
    for program in ("wrk", "nginx"):
        if programs.path_of(program) is None:
            raise SystemExit(f"{program} is missing: as root, apt-get install {programs.DEBIAN[program]}")


def _terminate(*_: object) -> NoReturn:
    raise SystemExit("terminated")


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, help="of each measure, instead of one or three")
    parser.add_argument("--only", default="", help=f"of {', '.join(proxies.PLANS)}; ours is both of ours")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--before", type=Path, help="another checkout of ours, measured beside as `before`"
    )
    options = parser.parse_args()
    if options.before:
        proxies.PLANS["before"] = proxies.ours_of(options.before.resolve())
    only = [part.strip() for part in options.only.split(",") if part.strip()]
    if unknown := set(only) - set(proxies.PLANS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(proxies.PLANS)}")
    names = [
        name
        for name in proxies.PLANS
        if not only or name.partition(",")[0] in only or (name == "before" and "ours" in only)
    ]
    prepare(names)
    spans = QUICK if options.quick else FULL
    spans = spans.of(options.rounds) if options.rounds else spans
    result: dict[str, Any] = {
        "machine": machine() + "; --quick" * options.quick,
        "quick": options.quick,
        "missing": {},
        "table": {},
        "tls": {},
    }
    result |= {"wrk": programs.version_of("wrk"), "headers": load.HEADERS, "spans": spans._asdict()}
    rows = side_by_side(names, spans, result)
    rows += over_tls(names, spans, result)
    rows += crowded(spans, result) if "ours" in names else []
    medians = {row.name: {name: row.median(name) for name in row.rounds} for row in rows}
    result["goals"] = [{"goal": goal, "found": found, "met": met} for goal, found, met in goals(medians)]
    text = markdown(result, medians)
    keep(options.out, "gateway", result, text)


if __name__ == "__main__":
    main()
