"""`blog healthcheck` asks the instances that run here, and nobody else; it costs next to nothing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blog.cli import health
from blog.cli.health import ask, check, main
from blog.core.web import INSTANCE_HEADER
from blog.lifecycle.local_instances import LocalInstance
from blog.lifecycle.run_file import run_file

ROOT = Path(__file__).parents[2]
POSTS = "posts-01a211d8-2bab-757e-909f-c973c5543b1a"
POSTS_2 = "posts-01a211d8-2bab-757e-909f-c973c5543b1b"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the data directory that is looked into."""
    monkeypatch.setenv("BLOG_DATA_DIR", str(tmp_path))
    return tmp_path


def answering(status: int, id_: str, text: str = "ready") -> bytes:
    """Return an answer as an instance gives it."""
    body = text.encode()
    head = f"HTTP/1.1 {status} X\r\n{INSTANCE_HEADER}: {id_}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def instance(paths: dict[str, bytes], host: str = "127.0.0.1") -> Iterator[str]:
    """Answer `paths` with raw bytes at the address that is given, and then keep the connection open."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    open_: list[socket.socket] = []
    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                open_.append(connection)
                path = connection.recv(4096).split(b" ")[1].decode()
                connection.sendall(paths.get(path, b""))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        yield f"{shown}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in open_:
            connection.close()


@pytest.mark.parametrize(
    ("status", "id_", "expected"),
    [(200, "a", (True, True)), (503, "a", (False, True)), (200, "b", (True, False))],
)
async def test_an_instance_is_asked(status: int, id_: str, expected: tuple[bool, bool]) -> None:
    """It is well, it is not, or another one has its address now."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text="ready", headers={INSTANCE_HEADER: id_})

    app = web.Application()
    app.router.add_get("/readyz", respond)
    async with TestServer(app) as server:
        item = LocalInstance("a", f"0.0.0.0:{server.port}")
        found = await asyncio.to_thread(ask, item, "/readyz")
    assert (found.is_healthy, found.is_same) == expected
    assert found.detail == "ready"
    assert not ask(item, "/readyz").is_healthy


def test_nobody_here_is_not_well(tmp_path: Path) -> None:
    """Nor is one that does not respond."""
    assert check(ready=False) == 1
    with run_file(tmp_path, "a", "127.0.0.1:1"):
        assert check(ready=False) == 1


def test_readiness_counts_until_it_was_ready_once(tmp_path: Path) -> None:
    """With `--startup`; from then on it is well as long as it lives. A later instance begins anew."""
    not_ready = {"/readyz": answering(503, "a", "not ready"), "/healthz": answering(200, "a", "alive")}
    with instance(not_ready) as address:
        with run_file(tmp_path, "a", address) as written:
            assert (main(["--startup"]), main(["--ready"]), main([])) == (1, 1, 0)
            written.mark_ready()
            assert (main(["--startup"]), main(["--ready"]), main([])) == (0, 1, 0)
        with run_file(tmp_path, "a", address):
            assert main(["--startup"]) == 1


def test_one_more_replica_that_starts_is_no_illness_of_the_others(tmp_path: Path) -> None:
    """Where several run in one container: the service has been ready here."""
    paths = {"/readyz": answering(503, POSTS_2), "/healthz": answering(200, POSTS_2)}
    with (
        instance({"/healthz": answering(200, POSTS)}) as first,
        instance(paths) as second,
        run_file(tmp_path, POSTS, first) as written,
        run_file(tmp_path, POSTS_2, second),
    ):
        assert main(["--startup"]) == 1
        written.mark_ready()
        assert main(["--startup"]) == 0
        assert main(["--ready"]) == 1


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"HTTP/1.1 200", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nread", id="half a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", id="no number"),
        pytest.param(b"SSH-2.0-x\r\n\r\n" + b"x" * (64 << 10), id="not HTTP, and much"),
        pytest.param(b"\x00\xff" * 40000, id="bytes"),
        pytest.param(b"HTTP/1.1\r\n\r\n" + b"x" * (64 << 10), id="no status"),
    ],
)
def test_what_is_no_answer_is_not_well_within_its_time(
    response: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stopped process takes connections as well, and answers nothing."""
    monkeypatch.setattr(health, "TIMEOUT", 0.2)
    with instance({"/healthz": response}) as address, run_file(tmp_path, "a", address):
        assert check(ready=False) == 1
    assert "does not respond" in capsys.readouterr().out


def test_all_together_have_less_time_than_an_engine_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many hang, and however long each of them might: minutes here."""
    monkeypatch.setattr(health, "TOTAL_TIMEOUT", 0.3)
    monkeypatch.setattr(health, "TIMEOUT", 60.0)
    began = time.monotonic()
    with (
        instance({}) as address,
        run_file(tmp_path, POSTS, address),
        run_file(tmp_path, POSTS_2, address),
    ):
        assert check(ready=False) == 1
    assert time.monotonic() - began < health.TIMEOUT


@pytest.mark.parametrize(
    ("bound", "advertised"), [("::1", "[::1]"), ("::1", "[::]"), ("127.0.0.1", "0.0.0.0")]
)
def test_an_instance_may_listen_anywhere(bound: str, advertised: str, tmp_path: Path) -> None:
    """IPv6, and at every address of the machine."""
    if ":" in bound and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with instance({"/healthz": answering(200, "a")}, bound) as address:
        port = address.rpartition(":")[2]
        with run_file(tmp_path, "a", f"{advertised}:{port}"):
            assert check(ready=False) == 0


def test_what_it_prints_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the instance says: an engine keeps the words, a terminal shows them."""
    body = "\x1b[31mé\r\n"
    with instance({"/healthz": answering(200, "a", body)}) as address, run_file(tmp_path, "a", address):
        assert check(ready=False) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.isascii()
    assert "\x1b" not in line


def test_the_data_directory_is_the_one_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable is the default; letters may be small, as everywhere."""
    monkeypatch.chdir(tmp_path)
    with instance({"/healthz": answering(200, "a")}) as address, run_file(Path("data"), "a", address):
        assert check(ready=False) == 1
        monkeypatch.setenv("BLOG_DATA_DIR", "")
        assert check(ready=False) == 0
        monkeypatch.delenv("BLOG_DATA_DIR")
        monkeypatch.setenv("blog_data_dir", str(tmp_path / "elsewhere"))
        assert check(ready=False) == 1


def test_a_stopped_instance_is_not_well(tmp_path: Path) -> None:
    """SIGSTOP: its port still takes connections, and nobody answers."""
    code = (
        "import http.server, os, sys\n"
        "from pathlib import Path\n"
        "from blog.lifecycle.run_file import run_file\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        f"        self.send_header({INSTANCE_HEADER!r}, 'a')\n"
        "        self.end_headers()\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n"
        "with run_file(Path(sys.argv[1]), 'a', f'127.0.0.1:{server.server_port}'):\n"
        "    print('up', flush=True)\n"
        "    server.serve_forever()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            assert check(ready=False) == 0
            process.send_signal(signal.SIGSTOP)
            assert check(ready=False) == 1
            process.send_signal(signal.SIGCONT)
            assert check(ready=False) == 0
        finally:
            process.kill()
            # killed, and not asked about by its parent yet: nobody runs here
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            assert check(ready=False) == 1


@pytest.mark.parametrize("words", [["--loud"], ["--help"], ["--ready", "now"]])
def test_wrong_words_are_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage."""
    assert main(words) == 2
    assert "--startup" in capsys.readouterr().err


# -- what it costs --

WAYS = {
    "blog-healthcheck": ([], "blog.cli.health import main as start"),
    "blog-healthcheck --startup": (["--startup"], "blog.cli.health import main as start"),
    "blog healthcheck": (["healthcheck"], "blog.__main__ import main as start"),
    "blog healthcheck --ready": (["healthcheck", "--ready"], "blog.__main__ import main as start"),
    "blog-image healthcheck": (["healthcheck"], "blog.cli.entrypoint import start"),
}
OURS = {
    "blog", "blog.__main__", "blog.cli", "blog.cli.entrypoint", "blog.cli.health", "blog.core",
    "blog.core.printable", "blog.core.files", "blog.core.files.regular_file", "blog.core.net",
    "blog.core.net.address", "blog.lifecycle", "blog.lifecycle.local_instances",
}  # fmt: skip
HEAVY = {"asyncio", "email", "http", "inspect", "logging", "ssl", "typing", "urllib.request", "_hashlib"}


def modules(words: list[str], start: str) -> set[str]:
    """Return what a check has imported at its end, without what the environment brings along."""
    code = (
        f"import sys; before = set(sys.modules); sys.argv[1:] = {words!r}\n"
        f"from {start}; code = start()\n"
        "print(*sorted(set(sys.modules) - before)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_it_imports_the_standard_library_and_little_of_it(tmp_path: Path) -> None:
    """Whichever way it is called, and also when there is somebody to ask."""
    paths = {"/readyz": answering(200, "a"), "/healthz": answering(200, "a")}
    with instance(paths) as address, run_file(tmp_path, "a", address):
        for way, call in WAYS.items():
            found = modules(*call)
            foreign = {one for one in found if one.partition(".")[0] not in sys.stdlib_module_names}
            assert foreign <= OURS, way
            assert not found & HEAVY, way


MEASURE = """
import os, sys
for _ in range(7):
    child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
    _, _, used = os.wait4(child, 0)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)
"""


def cost(*words: str) -> tuple[float, float]:
    """Return the least seconds of CPU and MiB of memory that the program needed in some runs.

    A bare process starts it: the peak of a child begins as that of its parent, and ours is high.
    """
    command = [sys.executable, "-IS", "-c", MEASURE, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stderr.splitlines()]
    return min(float(cpu) for cpu, _ in rows), min(float(size) for _, size in rows)


def test_it_costs_little_more_than_python_itself() -> None:
    """In one run, within wide bounds: what it may import is the rule that keeps it so."""
    bare = cost("-c", "pass")
    checked = cost("-m", "blog", "healthcheck")
    print(f"bare {bare}, healthcheck {checked} (s of CPU, MiB)")
    assert checked[0] < 10 * bare[0]
    assert checked[1] < bare[1] + 6
