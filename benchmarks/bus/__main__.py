"""Measures the bus and what depends on it, up to a whole blog; beside NATS JetStream where that does so.

Each row is a module of its own with `measured(size)`. What one row finds replaces only its part of the
report, so that a row can be measured alone: `--only chain`. A try (`--quick`) is printed, not kept.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import programs
from benchmarks.bus import appends, chain, reactions, views, whole
from benchmarks.bus.report import Size, markdown, merged, told
from benchmarks.record import RESULTS, keep, machine

ROWS = {
    "appends": appends.measured,
    "latency": reactions.latency,
    "reactions": reactions.throughput,
    "catch-up": views.catch_up,
    "pages": views.pages,
    "chain": chain.measured,
    "start-up": whole.start_up,
    "requests": whole.requests,
}
BESIDE = {"appends", "latency"}
"""Rows that measure JetStream as well."""


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of load in each round")
    parser.add_argument("--only", default="", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="one small round of each; kept with --out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = [part.strip() for part in options.only.split(",") if part.strip()] or list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(ROWS)}")
    for wrong in programs.install(["nats-server"] if BESIDE & set(names) else []):
        print(wrong, file=sys.stderr)
    size = Size(1, 2, is_quick=True) if options.quick else Size(options.rounds, options.seconds)
    found = {name: told(ROWS[name](size), f"{machine()}; {versions(name)}") for name in names}
    out = options.out or (None if options.quick else RESULTS)
    known = found if out is None else merged(out, found)
    sections = {name: known[name] for name in ROWS if name in known}
    if out is None:
        print(f"\n{markdown(sections)}")
    else:
        keep(out, "bus", {"sections": sections}, markdown(sections))


def versions(name: str) -> str:
    """Say what was measured in a row."""
    programs_ = ["ours", *(["nats-server"] if name in BESIDE else [])]
    return ", ".join(f"{program} {programs.version_of(program)}" for program in programs_)


if __name__ == "__main__":
    main()
