"""Appends that are on disk before they are answered: the bus beside NATS JetStream.

Core 0 belongs to the server, core 1 to the load; events of 200 bytes. Ours is loaded by wrk, JetStream by
its Python client (nats-py), so where that is the limit the figure is the client's.
"""

import statistics
import subprocess
from pathlib import Path

from benchmarks import load, ours, programs
from benchmarks.bus.report import Section, Size, at_least
from benchmarks.programs import LOAD_CORE, PROXY_CORE

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


def our_bus(place: programs.Place) -> programs.Plan:
    """Be our bus, alone: its registry is not there."""
    return ours.plan("bus", place, 1)


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


PLANS = {"ours": our_bus, "JetStream, sync always": jetstream_always, "JetStream": jetstream}


def append(row: programs.Running, callers: int, batch: int, seconds: int) -> float:
    """Return events per second."""
    if row.name == "ours":
        script = row.printed.parent / f"append-{batch}.lua"
        script.write_text(_APPEND.replace("BATCH", str(batch)).replace("TOKEN", ours.TOKEN))
        url = f"http://127.0.0.1:{row.port}/events"
        found = load.wrk(LOAD_CORE, url, seconds, script=script, connections=callers)
        return found.requests * batch / found.seconds
    words = [str(row.port), str(callers), str(batch), str(seconds)]
    script = Path(__file__).with_name("jetstream_load.py")
    python = programs.TOOLS / "bin" / "python"
    command = ["/usr/bin/taskset", "-c", str(LOAD_CORE), str(python), str(script), *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if ran.returncode:
        raise SystemExit(f"{row.name}: {ran.stderr.strip()[-500:]}")
    return float(ran.stdout)


def measured(size: Size) -> Section:
    """Measure everybody in turn, each round with a server and a disk of its own."""
    found: dict[str, dict[str, list[float]]] = {name: {shape: [] for shape in SHAPES} for name in PLANS}
    for number in range(size.rounds):
        for name, plan in PLANS.items():
            for shape, (callers, batch) in SHAPES.items():
                with (
                    ours.place() as place,
                    programs.running(name, plan(place), place, PROXY_CORE) as row,
                ):
                    found[name][shape].append(append(row, callers, batch, size.seconds))
                said = f"{number + 1}/{size.rounds}  {name}, {shape}: {found[name][shape][-1]:.0f}/s"
                print(said, flush=True)
    medians = {
        name: {shape: round(statistics.median(each)) for shape, each in shapes.items()}
        for name, shapes in found.items()
    }
    return section(medians)


def section(found: dict[str, dict[str, int]]) -> Section:
    """Say what was found."""
    base = found["JetStream, sync always"]
    table = [["appends per second", *SHAPES]]
    for name, shapes in found.items():
        table.append(
            [name, *(f"{value:,} ({value / base[shape]:.2f} x)" for shape, value in shapes.items())]
        )
    share = found["ours"]["64 callers"] / base["64 callers"]
    batches = found["ours"]["64 callers, batches of 100"]
    promises = [
        at_least("64 callers >= 3 x JetStream with sync always", share, 3, " x"),
        at_least("batches of 100 >= 15,000 events/s", batches, 15_000, "/s"),
    ]
    notes = ["x: beside JetStream with `sync_interval: always`; as it comes, nothing is on disk yet"]
    figures = {"events_per_second": found}
    return Section("Appends per second, on disk", table, promises, notes, figures)
