"""Report: the figures as people read them, and beside what is wanted. Measures nothing."""

from typing import Any

from benchmarks.record import Figures

MB, KB = 1e6, 1e3
IDLE = 1000
"""Idle connections whose memory is measured."""
RATE = 2000.0
"""Requests per second where latency is measured."""

CROWD = 1000
CROWDS = {
    "ours: 3 instances": {"things": 3},
    "ours: 3 + 997 of another": {"things": 3, "others": CROWD - 3},
    "ours: 1000 of the same": {"things": CROWD},
    "nginx: 3 instances": {"things": 3},
    "nginx: 1000 of the same": {"things": CROWD},
}
"""How many instances there are of which service, by row; each has an address of its own."""

Medians = dict[str, dict[str, Figures]]


def goals(medians: Medians) -> list[tuple[str, str, bool | None]]:
    """Compare with what is wanted: the goal, what was found, whether it is met (None: not measured)."""
    mine, base, other = (medians.get(name) for name in ("ours", "nginx", "envoy"))
    few, others, same = (medians.get(name) for name in list(CROWDS)[:3])
    later = mine["rate"]["p99_ms"] - base["rate"]["p99_ms"] if mine and base else None
    held_mb = mine["memory"]["rss_mb"] if mine else None
    found = [
        ("CPU per request <= 1.8 x nginx's", share(mine, base), 1.8, " x"),
        ("CPU per request <= 0.8 x Envoy's", share(mine, other), 0.8, " x"),
        (f"p99 at {RATE:g}/s within 1 ms of nginx's", later, 1.0, " ms"),
        (f"RSS with {IDLE} connections <= 55 MB + 25 KB each", held_mb, 55 + 25 * IDLE * KB / MB, " MB"),
        (
            "CPU with 1,000 instances, of another service <= 1.10 x that with 3",
            share(others, few),
            1.1,
            " x",
        ),
        (
            "CPU with 1,000 instances, of the same service <= 1.10 x that with 3",
            share(same, few),
            1.1,
            " x",
        ),
    ]
    return [
        (goal, "not measured", None) if value is None else (goal, f"{value:.2f}{unit}", value <= limit)
        for goal, value, limit, unit in found
    ]


def share(
    one: dict[str, Figures] | None, of: dict[str, Figures] | None, measured: str = "things"
) -> float | None:
    """Return a ratio of CPU times per request."""
    return one[measured]["cpu_us"] / of[measured]["cpu_us"] if one and of else None


COLUMNS: dict[str, tuple[str, str, str]] = {
    "req/s": ("things", "per_second", ".0f"),
    "p50 ms": ("things", "p50_ms", ".2f"),
    "p99 ms": ("things", "p99_ms", ".2f"),
    f"p50 at {RATE:g}/s": ("rate", "p50_ms", ".2f"),
    "p99": ("rate", "p99_ms", ".2f"),
    "max": ("rate", "max_ms", ".1f"),
    "MB": ("memory", "alone_rss_mb", ".1f"),
    f"MB with {IDLE} open": ("memory", "rss_mb", ".1f"),
    "KB each": ("memory", "kb_per_connection", ".1f"),
    "64 KiB: µs": ("64k", "cpu_us", ".0f"),
    "MB/s ": ("64k", "mb_per_second", ".0f"),
    "1 MiB: µs": ("1m", "cpu_us", ".0f"),
    "MB/s": ("1m", "mb_per_second", ".0f"),
    "new connection: µs": ("close", "cpu_us", ".0f"),
}
"""The table beside the first columns: measure, figure, format."""


KINDS = {"things": "equal", "readers": "readers", "strangers": "strangers"}
_ABOUT = """\
- Ours reads a head once for all that are alike. `equal`: wrk's requests, the same bytes every time.
  `readers`: another query and cookie in each request and another ETag in each answer, as with many
  readers. `strangers`: other fields differ too, so that no head was ever seen before.
- With 1,000 instances, every one at an address of its own, each connection was used 1,000 requests
  ago: what the kernel and the caches take for that, nginx pays as well.
"""


def markdown(result: dict[str, Any], medians: Medians) -> str:
    """Return the report as people read it."""
    heading = [part for shown in KINDS.values() for part in (f"CPU µs, {shown}", "x nginx", "x Envoy")]
    table = [["proxy", *heading, *COLUMNS, "log"]]
    for name, row in result["rows"].items():
        shown = []
        for kind in KINDS:
            ratios = [share(medians[name], medians.get(peer), kind) for peer in ("nginx", "envoy")]
            shown.append(f"{medians[name][kind]['cpu_us']:.1f}")
            shown += ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        shown += [format(medians[name][group][key], form) for group, key, form in COLUMNS.values()]
        table.append([name, *shown, row["log"]])
    crowds = [["instances in the table", "CPU µs/request", "req/s"]]
    for name in result["table"]:
        things = medians[name]["things"]
        crowds.append([name, f"{things['cpu_us']:.1f}", f"{things['per_second']:.0f}"])
    secure = [["over TLS", "CPU µs/request", "x nginx", "req/s", "p50 ms", "p99 ms", "1 MiB: µs"]]
    secure[0] += ["MB/s", "new connection: µs"]
    secure += [_over_tls(name, medians) for name in result.get("tls", {})]
    marks = {True: "✓", False: "✗", None: "?"}
    lines = ["# Reverse proxies side by side", "", result["machine"], ""]
    lines += [*_aligned(table), "", *(_aligned(crowds) if len(crowds) > 1 else []), ""]
    lines += [*_aligned(secure), ""] if len(secure) > 1 else []
    lines += [f"- {marks[met]} {goal}: {found}" for goal, found, met in goals(medians)]
    lines += _ABOUT.splitlines()
    lines += [f"- missing: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(lines) + "\n"


def _over_tls(name: str, medians: Medians) -> list[str]:
    things, large, close = (medians[name][measured] for measured in ("things", "1m", "close"))
    ratio = share(medians[name], medians.get("nginx: TLS"))
    shown = [f"{things['cpu_us']:.1f}", "-" if ratio is None else f"{ratio:.2f}"]
    shown += [f"{things['per_second']:.0f}", f"{things['p50_ms']:.2f}", f"{things['p99_ms']:.2f}"]
    return [
        name,
        *shown,
        f"{large['cpu_us']:.0f}",
        f"{large['mb_per_second']:.0f}",
        f"{close['cpu_us']:.0f}",
    ]


def _aligned(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
    shown = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    shown.insert(1, ["-" * width for width in widths])
    return [f"| {' | '.join(row)} |" for row in shown]
