"""Measures a registry on one core with a thousand, and ten thousand, simulated instances.

`make bench-registry`; the figures are printed and kept in benchmarks/results/registry.{json,md}.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.programs import LOAD_CORE, PROXY_CORE, ROOT, free_port, version_of
from benchmarks.record import RESULTS, Figures, keep, machine
from benchmarks.registry.sessions import DRAIN, LEAVE, Crowd, DialBack, Simulated, in_turns
from blog.core.background import background
from blog.core.instance import Instance, Route

TOKEN = "token-of-a-benchmark"  # noqa: S105 - of a registry that lives as long as this
AT_ONCE = 100
"""Instances that join at the same time."""
FOLLOWERS = 3
"""Who follows every service (gateway, bus, web); everybody else follows the bus, as services do."""
ROUNDS = 20
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def registry(folder: Path, port: int) -> Iterator[int]:
    """Run a registry on its core; give its process id."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    settings = {"BLOG_ADMIN_PORT": str(port), "BLOG_DATA_DIR": str(folder), "BLOG_TOKEN": TOKEN}
    with (folder / "registry.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - ours
            ["/usr/bin/taskset", "-c", str(PROXY_CORE), sys.executable, "-m", "blog", "registry"],
            env=clean | settings | {"BLOG_LOG_FORMAT": "json", "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(15)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def waited_seconds(pid: int) -> float:
    """Return how long a process could have run, but another one had its core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def megabytes(pid: int) -> float:
    """Return the memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def instance(number: int, port: int, service: str = "things") -> Instance:
    """Make an instance as a service of ours announces itself."""
    return Instance(
        id=f"{service}-019aba5f-{number:04x}-7000-8000-{number:012x}",
        service=service,
        # an address of its own, as it would have
        address=f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:{port}",
        version="0",
        started_at=datetime.now(UTC),
        routes=tuple(
            Route(method=method, pattern=f"/things/{{id}}/{part}")
            for method in ("GET", "POST")
            for part in ("parts", "more")
        ),
        metadata={"pid": str(number)},
    )


async def until_open(port: int) -> None:
    """Wait until the registry listens."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def measure(pid: int, port: int, count: int, seconds: float) -> Figures:
    """Let `count` instances join, beat, and hear of changes."""
    await until_open(port)
    loop = asyncio.get_running_loop()
    dial_back = await loop.create_server(DialBack, "0.0.0.0", 0, backlog=1000)  # noqa: S104 - of loopback, all
    answers_at = dial_back.sockets[0].getsockname()[1]
    crowd = Crowd(port, TOKEN)
    async with background(crowd.beat()):
        for _ in range(FOLLOWERS):
            await crowd.add(None, ("*",))
        began, used, waited = time.monotonic(), cpu_seconds(pid), waited_seconds(pid)
        joins = [
            lambda number=number: crowd.add(instance(number, answers_at), ("bus",))
            for number in range(count)
        ]
        await in_turns(joins, AT_ONCE)
        found = {"join_s": time.monotonic() - began, "join_cpu_s": cpu_seconds(pid) - used}
        found["join_without_core_s"] = waited_seconds(pid) - waited
        await asyncio.sleep(2)
        began, used = time.monotonic(), cpu_seconds(pid)
        await asyncio.sleep(seconds)
        found["steady_cpu_percent"] = (cpu_seconds(pid) - used) / (time.monotonic() - began) * 100
        found["rss_mb"] = megabytes(pid)
        delays = [await told(crowd, answers_at, count + number) for number in range(ROUNDS)]
        found["delta_first_ms"] = statistics.median(first for first, _ in delays) * 1000
        found["delta_last_ms"] = statistics.median(last for _, last in delays) * 1000
        found["delta_worst_ms"] = max(last for _, last in delays) * 1000
        for session in crowd.sessions:
            session.transport.abort()
    dial_back.close()
    return found


async def told(crowd: Crowd, port: int, number: int) -> tuple[float, float]:
    """Let a bus drain; return after how many seconds the first and the last follower knew."""
    bus = await crowd.add(instance(number, port, "bus"), ("*",))
    await asyncio.sleep(1.0)
    others = [session for session in crowd.sessions if session is not bus]
    began = time.monotonic()
    bus.say(DRAIN)
    while not all(session.heard_at > began for session in others):
        await asyncio.sleep(0.002)
        if time.monotonic() - began > 30:
            raise SystemExit(f"{missing(others, began)} followers were not told within 30 s")
    heard = [session.heard_at - began for session in others]
    bus.say(LEAVE)
    crowd.sessions.remove(bus)
    await asyncio.sleep(0.5)
    bus.transport.close()
    return min(heard), max(heard)


def missing(sessions: list[Simulated], since: float) -> int:
    """Count who has heard nothing."""
    return sum(session.heard_at <= since for session in sessions)


def goals(found: Figures) -> list[tuple[str, str, bool]]:
    """Compare with what is wanted of a thousand: the goal, what was found, whether it is met."""
    return [
        ("all join within 10 s", f"{found['join_s']:.1f} s", found["join_s"] <= 10),
        (
            "steady state <= 15 % of a core",
            f"{found['steady_cpu_percent']:.1f} %",
            found["steady_cpu_percent"] <= 15,
        ),
        (
            "a delta reaches every follower within 50 ms (median of 20, the last one)",
            f"{found['delta_last_ms']:.0f} ms; at worst {found['delta_worst_ms']:.0f} ms",
            found["delta_last_ms"] <= 50,
        ),
    ]


def markdown(rows: dict[int, Figures], told_of: str) -> str:
    """Return the report as people read it."""
    names = list(next(iter(rows.values())))
    lines = ["# A registry on one core", "", told_of, ""]
    lines += [f"| instances | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines += ["|---" * (len(names) + 1) + "|"]
    for count, found in rows.items():
        lines += [f"| {count:,} | {' | '.join(f'{found[name]:.1f}' for name in names)} |"]
    lines += ["", f"Each one beats every second and follows the bus; {FOLLOWERS} more follow everybody."]
    lines += ["Without core: it could have run, but other programs of this machine had its core."]
    lines += ["Each one was dialled back before it was ready. A delta: a bus drains, and all hear of it."]
    if 1000 in rows:
        lines += [""] + [f"- {'✓' if met else '✗'} {goal}: {was}" for goal, was, met in goals(rows[1000])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: dict[int, Figures] = {}
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="bench-registry-") as folder:
            port = free_port()
            with registry(Path(folder), port) as pid:
                rows[count] = uvloop.run(measure(pid, port, count, options.seconds))
        print(f"{count}: {rows[count]}", flush=True)
    told_of = f"{machine()}; {version_of('ours')}"
    result: dict[str, Any] = {"machine": told_of, "rows": rows}
    keep(options.out, "registry", result, markdown(rows, told_of))


if __name__ == "__main__":
    main()
