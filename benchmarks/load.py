"""Load, and what it costs: wrk, an open loop of ours, idle connections, and what /proc says of a process.

Nothing here knows which proxy it measures. An answer that is not 2xx, or a socket error, ends the run.

The open loop waits in select(2), not on an event loop: libuv's and asyncio's timers tick in whole
milliseconds, and at 2,000 requests per second one is due each half of that.
"""

import ctypes
import gc
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/131.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cache-Control": "max-age=0",
    "Referer": "http://blog.example/posts?after=2024-11-24",
    "Cookie": "session=6b1f0a2c94e84d7f8a3b5c6d7e8f9a0b; theme=dark; seen=1732446000",
    "Sec-CH-UA": '"Chromium";v="131", "Not_A Brand";v="24"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Linux"',
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}
"""What a browser sends, beside `Host`."""

_VARIED = """
local turn, parts = 0, {}
function init()
  local whole = wrk.format(nil, wrk.path .. "?seen=@@@@") .. "@@@@"
  whole = whole:gsub("PATTERN", "%1@@@@")
  for part in whole:gmatch("(.-)@@@@") do parts[#parts + 1] = part end
end
function request()
  turn = turn + 1
  local key = string.format("%016x", turn * 2654435761)
  local made = parts[1] .. key
  for n = 2, #parts do made = made .. parts[n] .. (n < #parts and key or "") end
  return made
end
"""
VARIED = {
    "readers": _VARIED.replace("PATTERN", "(session=)%w+"),
    "strangers": _VARIED.replace("PATTERN", "(Mobile: )[^\\r]*"),
}
"""For wrk: no two requests are equal. Readers differ in query and session, strangers in another field."""

CONNECTIONS = 32
_MAX_HEAD = 65536
_PR_SET_TIMERSLACK = 29
_SCALE = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}
_SIZES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


class Wrk(NamedTuple):
    """What wrk said: `seconds` as it measured them, latencies in ms, bytes with heads."""

    requests: int
    seconds: float
    bytes: float
    p50_ms: float
    p99_ms: float


class Answer(NamedTuple):
    """One answer, read in full."""

    status: int
    headers: dict[str, str]
    body: bytes


class Memory(NamedTuple):
    """Bytes of a process and its children. Pages they share count once in `pss`."""

    rss: int
    pss: int


def wrk(  # noqa: PLR0913 - what wrk may be told
    core: int | str,
    url: str,
    seconds: float,
    *,
    close: bool = False,
    script: Path | None = None,
    connections: int = CONNECTIONS,
) -> Wrk:
    """Load `url` as fast as it answers, over `connections`, or with a new one per request.

    A `script` (Lua, in a file) says what is asked.
    """
    headers = HEADERS | ({"Connection": "close"} if close else {})
    flags = [flag for name, value in headers.items() for flag in ("-H", f"{name}: {value}")]
    shape = ["-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency", "--timeout", "5s"]
    shape += ["-s", str(script)] if script else []
    ran = subprocess.run(  # noqa: S603 - the arguments are ours
        ["/usr/bin/taskset", "-c", str(core), "wrk", *shape, *flags, url],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    for failed in ("Non-2xx", "Socket errors", "unable to"):
        if failed in ran.stdout + ran.stderr:
            said = ran.stdout + ran.stderr
            raise SystemExit(f"{url}: the run stops on any answer that is not 2xx:\n{said}")
    if ran.returncode:
        raise SystemExit(f"wrk {url}: {ran.stderr or ran.stdout or ran.returncode}")
    return _parsed(ran.stdout)


def _parsed(text: str) -> Wrk:
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m), ([\d.]+)([KMG]?B) read", text)
    shares = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+(?:us|ms|s|m))\s*$", text, re.MULTILINE))
    if total is None or int(total[1]) == 0 or len(shares) < 2:
        raise SystemExit(f"wrk counted no requests:\n{text}")
    return Wrk(
        requests=int(total[1]),
        seconds=float(total[2]) * _SCALE[total[3]] / 1000,
        bytes=float(total[4]) * _SIZES[total[5]],
        p50_ms=_ms(shares["50"]),
        p99_ms=_ms(shares["99"]),
    )


def _ms(text: str) -> float:
    return float(number := text.rstrip("mus")) * _SCALE[text[len(number) :]]


def request(port: int, path: str) -> bytes:
    """Return a GET as a browser writes it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def dial(port: int, *, tls: bool = False) -> socket.socket:
    """Open a connection to a port of this machine; over TLS, whatever certificate it shows."""
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ssl._create_unverified_context().wrap_socket(made) if tls else made  # noqa: SLF001, S323 - our own


def ask(connection: socket.socket, path: str) -> Answer:
    """Ask over an open connection; anything but 2xx ends the run."""
    port = connection.getpeername()[1]
    connection.sendall(request(port, path))
    return read_answer(connection, f"127.0.0.1:{port}{path}")


def read_answer(connection: socket.socket, what: str) -> Answer:
    """Read an answer with a `Content-Length`; anything but 2xx ends the run."""
    answer = read_any(connection, what)
    if not 200 <= answer.status < 300:
        raise SystemExit(f"{what}: the run stops on any answer that is not 2xx: {answer}")
    return answer


def read_any(connection: socket.socket, what: str) -> Answer:
    """Read an answer with a `Content-Length`, whatever its status."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(_MAX_HEAD)
        if not part:
            raise SystemExit(f"{what}: the connection ended before an answer")
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if status != 204 and "content-length" not in headers:
        raise SystemExit(f"{what}: the run stops on any answer without a length: {head!r}")
    while len(body) < int(headers.get("content-length", 0)):
        part = connection.recv(_MAX_HEAD)
        if not part:
            raise SystemExit(f"{what}: the connection ended within an answer")
        body += part
    return Answer(status, headers, body)


class OpenLoop:
    """Requests that are due at a fixed rate, whoever is late; latency counts from when one was due."""

    def __init__(self, port: int, path: str, rate: float) -> None:
        self.rate = rate
        self._what = f"127.0.0.1:{port}{path}"
        self._request = request(port, path)
        self._idle = deque(dial(port) for _ in range(CONNECTIONS))
        self._busy: dict[socket.socket, float] = {}

    def run(self, seconds: float) -> list[float]:
        """Return the latencies in ms of all that was due within `seconds`."""
        took: list[float] = []
        count, sent, began = int(self.rate * seconds), 0, time.perf_counter() + 0.05
        while len(took) < count:
            now = time.perf_counter()
            while sent < count and self._idle and (due := began + sent / self.rate) <= now:
                connection = self._idle.popleft()
                self._busy[connection] = due
                connection.sendall(self._request)
                sent += 1
            is_due = sent < count and self._idle
            for connection in self._wait(began + sent / self.rate if is_due else None):
                read_answer(connection, self._what)
                took.append((time.perf_counter() - self._busy.pop(connection)) * 1000)
                self._idle.append(connection)
        return took

    def _wait(self, until: float | None) -> list[socket.socket]:
        """Wait for answers, or until the next request is due."""
        timeout = 10.0 if until is None else max(0.0, until - time.perf_counter())
        ready = select.select(self._busy, [], [], timeout)[0]
        if until is None and not ready:
            raise SystemExit(f"{self._what}: no answer within {timeout:g} s")
        return ready

    def close(self) -> None:
        """Close its connections."""
        for connection in (*self._idle, *self._busy):
            connection.close()


def at_rate(core: int, port: int, path: str, rate: float, seconds: float) -> list[float]:
    """Run an open loop in a process of its own, pinned to `core`; return the latencies in ms, sorted."""
    script = [sys.executable, __file__, str(port), path, str(rate), str(seconds)]
    ran = subprocess.run(  # noqa: S603 - the arguments are ours
        ["/usr/bin/taskset", "-c", str(core), *script], check=False, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(f"127.0.0.1:{port}{path} at {rate:g}/s: {ran.stderr.strip()}")
    return sorted(json.loads(ran.stdout))


def tree(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return pids


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process and its children have had."""
    ticks = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> Memory:
    """Return what a process and its children hold in memory."""
    rss = pss = 0
    for each in tree(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            rss += int(line.split()[1]) * 1024 if line.startswith("Rss:") else 0
            pss += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
    return Memory(rss, pss)


def memory_with(pid: int, port: int, path: str, count: int) -> Memory:
    """Return what it holds while `count` connections are open and idle that have each asked once."""
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(dial(port))
            ask(connections[-1], path)
        time.sleep(0.3)
        found = memory(pid)
        if closed := sum(is_closed(connection) for connection in connections):
            raise SystemExit(f"127.0.0.1:{port}: {closed} of {count} idle connections were closed")
        return found
    finally:
        for connection in connections:
            connection.close()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed an idle connection."""
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def main() -> None:
    """Run an open loop as PORT PATH RATE SECONDS say; print the latencies."""
    port, path, rate, seconds = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # wake up when due, not 50 µs later
    gc.disable()
    loop = OpenLoop(int(port), path, float(rate))
    try:
        loop.run(0.5)  # warm-up
        latencies = loop.run(float(seconds))
    finally:
        loop.close()
    json.dump([round(each, 4) for each in latencies], sys.stdout)


if __name__ == "__main__":
    main()
