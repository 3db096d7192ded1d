"""Measures the bus and what lives from it; beside NATS JetStream where that does the same.

Each row is a module of its own with `measured(size)`. What one row finds replaces only its part of the
report, so that a row can be measured alone: `--only chain`. A try (`--quick`) is printed, not kept.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks import bus_appends, bus_chain, bus_reactions, bus_views, programs
    from benchmarks.bus_report import Size, markdown, merged, told
    from benchmarks.gateway import machine
    from benchmarks.report import keep
else:  # run as a script, beside its neighbours
    import bus_appends
    import bus_chain
    import bus_reactions
    import bus_views
    import programs
    from bus_report import Size, markdown, merged, told
    from gateway import machine
    from report import keep

ROWS = {
    "appends": bus_appends.measured,
    "latency": bus_reactions.latency,
    "reactions": bus_reactions.throughput,
    "catch-up": bus_views.catch_up,
    "pages": bus_views.pages,
    "chain": bus_chain.measured,
}
BESIDE = {"appends", "latency"}
"""Rows that measure JetStream as well."""
RESULTS = Path(__file__).parent / "results"


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
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(ROWS)}")
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
