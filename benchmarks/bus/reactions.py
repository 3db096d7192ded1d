"""Reactions: how soon an event is with the one who reacts to it, and how many are carried out per second.

Latency: core 0 belongs to the bus and its registry (or JetStream), core 1 to who sends and who reacts. A
backlog is carried out on both cores.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import ours, programs
from benchmarks.bus.appends import jetstream, jetstream_always
from benchmarks.bus.report import Section, Size, at_most
from benchmarks.programs import LOAD_CORE, PROXY_CORE

RATE = 200
BACKLOG = 20_000
KEYS = 100
INSTANCES = (1, 3)
CONNECTIONS = 8
PEERS = {"JetStream, sync always": jetstream_always, "JetStream": jetstream}
REACTOR = "benchmarks.bus.reactor"
BATCH = {"Content_Type": "application/cloudevents-batch+json"}


def latency(size: Size) -> Section:
    """Measure in turn how long an event takes from its sender to its reaction."""
    took: dict[str, list[float]] = {"ours": [], **{name: [] for name in PEERS}}
    seconds = max(2, size.seconds)
    for number in range(size.rounds):
        for name, so_far in took.items():
            so_far.extend(our_latency(seconds) if name == "ours" else peer_latency(name, seconds))
            p50 = statistics.median(so_far)
            print(f"{number + 1}/{size.rounds}  {name}: p50 {p50:.2f} ms", flush=True)
    figures: dict[str, Any] = {name: _quantiles(each) for name, each in took.items()}
    table = [[f"at {RATE}/s", "p50 ms", "p99 ms", "slowest"]]
    table += [[name, *(f"{value:.2f}" for value in row.values())] for name, row in figures.items()]
    promise = at_most("publish to reaction, p50 <= 10 ms", figures["ours"]["p50"], 10, " ms")
    notes = ["JetStream: a push consumer, nats-py; ours: an instance of a service, in Python as well"]
    return Section("From an append to its reaction", table, [promise], notes, figures)


def _quantiles(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[len(ordered) * 99 // 100],
        "max": ordered[-1],
    }


def our_latency(seconds: int) -> list[float]:
    """Send pings to our bus at the rate; return the milliseconds until the reaction had them."""
    with ours.stage(PROXY_CORE) as stage, ours.place() as place, pinned(LOAD_CORE):
        bus = stage.run("bus", PROXY_CORE)
        notes = place.folder / "notes"
        stage.run("reactor", LOAD_CORE, module=REACTOR, REACTOR_NOTES=str(notes))
        stage.wait_until_ready("reactor")
        send(bus.port, RATE)  # a warm-up
        programs.until(lambda: len(lines(notes)) >= RATE, 30, "not every ping was heard of")
        send(bus.port, RATE * seconds)
        count = RATE * (seconds + 1)
        programs.until(lambda: len(lines(notes)) >= count, 30, "not every ping was heard of")
        return [int(line) / 1e6 for line in lines(notes)[RATE:]]


def lines(path: Path) -> list[str]:
    """Read the whole lines of a file."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def send(port: int, count: int) -> None:
    """Append so many pings at the rate; an append does not wait for the one before it."""
    with ours.several(port, CONNECTIONS) as clients:
        began = time.monotonic()
        for n in range(count):
            client = clients[n % CONNECTIONS]
            client.finish()
            time.sleep(max(0.0, began + n / RATE - time.monotonic()))
            key = f"k{n % KEYS}"
            data = {"about": key, "sent": time.monotonic_ns()}
            client.send("POST", "/events", event("Ping", f"{began}-{n}", key, data))


def event(name: str, id_: str, key: str, data: dict[str, Any]) -> dict[str, Any]:
    """Make an event of about 200 bytes."""
    return {
        "specversion": "1.0", "id": id_, "source": "/bench", "type": f"blog.{name}", "subject": key,
        "time": "2026-01-01T00:00:00Z", "data": data,
    }  # fmt: skip


def peer_latency(name: str, seconds: int) -> list[float]:
    """Do the same with JetStream."""
    with ours.place() as place, programs.running(name, PEERS[name](place), place, PROXY_CORE) as row:
        python = programs.TOOLS / "bin" / "python"
        script = Path(__file__).with_name("jetstream_latency.py")
        command = ["/usr/bin/taskset", "-c", str(LOAD_CORE), str(python), str(script)]
        command += [str(row.port), str(RATE), str(seconds + 1)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stderr.strip()[-500:]}")
    return [float(each) for each in json.loads(ran.stdout)[RATE:]]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this process on a core while the body runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def throughput(size: Size) -> Section:
    """Measure in turn how fast one and three instances carry out a backlog."""
    found: dict[int, list[float]] = {count: [] for count in INSTANCES}
    backlog = size.few(BACKLOG, 2000)
    for number in range(size.rounds):
        for count, rates in found.items():
            rates.append(reactions(count, backlog))
            print(f"{number + 1}/{size.rounds}  {count} instances: {rates[-1]:.0f}/s", flush=True)
    figures = {count: round(statistics.median(rates)) for count, rates in found.items()}
    table = [["instances", "reactions/s", "beside one instance"]]
    for count, rate in figures.items():
        table.append([str(count), f"{rate:,}", f"{rate / figures[1]:.2f} x"])
    notes = [f"a backlog of {backlog:,} events over {KEYS} keys; one event follows from each, on disk"]
    return Section("Reactions per second", table, [], notes, {"reactions_per_second": figures})


def reactions(instances: int, backlog: int) -> float:
    """Return reactions per second: from when delivery begins until all that follows is in the log."""
    with ours.stage() as stage:
        bus = stage.client_of(stage.run("bus"))
        for _ in range(instances):
            stage.run("reactor", module=REACTOR)
        stage.wait_until_ready("reactor", instances)
        pause = "/subscriptions/reactor/pause"
        programs.until(lambda: bus.ask("POST", pause, {}).status == 204, 10, "no subscription")
        for start in range(0, backlog, 500):
            tasks = [task(n) for n in range(start, min(start + 500, backlog))]
            bus.post("/events", tasks, 200, **BATCH)
        began = time.perf_counter()
        bus.post("/subscriptions/reactor/resume", {}, 204)
        programs.until(
            lambda: bus.get("/events/head")["sequence"] >= 2 * backlog, 300, "not everything was done"
        )
        return backlog / (time.perf_counter() - began)


def task(number: int) -> dict[str, Any]:
    """Make something to be done."""
    key = f"k{number % KEYS}"
    return event("Task", f"t{number}", key, {"about": key, "text": "x" * 100})
