"""Measures the bus beside NATS JetStream: appends that are on disk before they are answered.

Core 0 belongs to the server, core 1 to the load; events of 200 bytes. Ours is loaded by wrk, JetStream by
its Python client (nats-py), so where that is the limit the figure is the client's.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks import load, programs
    from benchmarks.gateway import LOAD_CORE, PROXY_CORE, machine
    from benchmarks.report import keep
else:  # run as a script, beside its neighbours
    import load
    import programs
    from gateway import LOAD_CORE, PROXY_CORE, machine
    from report import keep

TOKEN = "bench"  # noqa: S105 - of a bus that lives as long as a measurement
SHAPES = {"1 caller": (1, 1), "64 callers": (64, 1), "64 callers, batches of 100": (64, 100)}
"""Callers, and events per request."""

_APPEND = """
local turn = 0
local head = '{"specversion":"1.0","source":"/bench","type":"blog.Bench","time":"2026-01-01T00:00:00Z",'
local tail = '","data":{"text":"' .. string.rep("x", 180) .. '"}}'
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer TOKEN"
wrk.headers["Content-Type"] = BATCH > 1 and "application/cloudevents-batch+json" or "application/json"
local id = tostring({}):sub(8) .. os.time()
local function event()
  turn = turn + 1
  return head .. '"id":"' .. id .. "-" .. turn .. '","subject":"k' .. turn % 100 .. tail
end
function request()
  if BATCH == 1 then return wrk.format(nil, nil, nil, event()) end
  local events = {}
  for n = 1, BATCH do events[n] = event() end
  return wrk.format(nil, nil, nil, "[" .. table.concat(events, ",") .. "]")
end
"""


def ours(place: programs.Place) -> programs.Plan:
    """Be our bus, alone: its registry is not there."""
    environ = {
        "BLOG_PORT": str(place.port), "BLOG_TOKEN": TOKEN, "BLOG_DATA_DIR": str(place.folder / "data"),
        "BLOG_REGISTRY": "http://127.0.0.1:1", "BLOG_LOG_FORMAT": "json",
    }  # fmt: skip
    return programs.Plan(
        sys.executable, ["-m", "blog", "bus"], "fsync before each answer", environ=environ
    )


def jetstream(place: programs.Place, sync: str = "") -> programs.Plan:
    """Be JetStream with file storage, as it comes (fsync every two minutes), or with `sync_interval`."""
    text = f"""\
port: {place.port}
host: "127.0.0.1"
jetstream {{
  store_dir: "{place.folder}/store"
  {f"sync_interval: {sync}" if sync else ""}
}}
"""
    arguments = ["-c", str(place.folder / "nats.conf")]
    log = "fsync before each answer" if sync else "fsync every two minutes"
    return programs.Plan("nats-server", arguments, log, {"nats.conf": text})


def jetstream_always(place: programs.Place) -> programs.Plan:
    """Be JetStream that keeps what we keep."""
    return jetstream(place, "always")


PLANS = {"ours": ours, "JetStream, sync always": jetstream_always, "JetStream": jetstream}


def append(row: programs.Running, callers: int, batch: int, seconds: int) -> float:
    """Return events per second."""
    if row.name == "ours":
        script = row.printed.parent / f"append-{batch}.lua"
        script.write_text(_APPEND.replace("BATCH", str(batch)).replace("TOKEN", TOKEN))
        url = f"http://127.0.0.1:{row.port}/events"
        found = load.wrk(LOAD_CORE, url, seconds, script=script, connections=callers)
        return found.requests * batch / found.seconds
    words = [str(row.port), str(callers), str(batch), str(seconds)]
    script = Path(__file__).parent / "nats_load.py"
    python = programs.TOOLS / "bin" / "python"
    command = ["/usr/bin/taskset", "-c", str(LOAD_CORE), str(python), str(script), *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if ran.returncode:
        raise SystemExit(f"{row.name}: {ran.stderr.strip()[-500:]}")
    return float(ran.stdout)


def measured(rounds: int, seconds: int) -> dict[str, dict[str, float]]:
    """Measure everybody in turn, each round with a server and a disk of its own."""
    found: dict[str, dict[str, list[float]]] = {name: {shape: [] for shape in SHAPES} for name in PLANS}
    for number in range(rounds):
        for name, plan in PLANS.items():
            for shape, (callers, batch) in SHAPES.items():
                with ExitStack() as stack:
                    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-bus-"))
                    place = programs.Place(Path(folder), programs.free_port(), ())
                    row = stack.enter_context(programs.running(name, plan(place), place, PROXY_CORE))
                    found[name][shape].append(append(row, callers, batch, seconds))
                print(
                    f"{number + 1}/{rounds}  {name}, {shape}: {found[name][shape][-1]:.0f}/s", flush=True
                )
    return {
        name: {shape: round(statistics.median(each)) for shape, each in shapes.items()}
        for name, shapes in found.items()
    }


def markdown(found: dict[str, dict[str, float]], told: str) -> str:
    """Return the report as people read it."""
    base = found["JetStream, sync always"]
    lines = [
        "# Appends per second, on disk",
        "",
        told,
        "",
        f"| | {' | '.join(SHAPES)} |",
        "|---" * 4 + "|",
    ]
    for name, shapes in found.items():
        cells = [f"{value:,.0f} ({value / base[shape]:.2f} x)" for shape, value in shapes.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    share = found["ours"]["64 callers"] / base["64 callers"]
    batches = found["ours"]["64 callers, batches of 100"]
    lines += [
        "",
        "x: beside JetStream with `sync_interval: always`; as it comes, nothing is on disk yet.",
    ]
    lines += [
        f"- {'✓' if share >= 3 else '✗'} 64 callers >= 3 x JetStream with sync always: {share:.2f} x"
    ]
    lines += [f"- {'✓' if batches >= 15_000 else '✗'} batches of 100 >= 15,000 events/s: {batches:,.0f}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for wrong in programs.install(["nats-server"]):
        print(wrong, file=sys.stderr)
    found = measured(options.rounds, options.seconds)
    versions = f"nats-server {programs.version_of('nats-server')}, ours {programs.version_of('ours')}"
    text = markdown(found, f"{machine()}; {versions}")
    result: dict[str, Any] = {"machine": machine(), "versions": versions, "events_per_second": found}
    keep(options.out, "bus", result, text)


if __name__ == "__main__":
    main()
