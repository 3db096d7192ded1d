"""The blog as its users have it: `blog up`, on free ports, in a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.async_api import Browser, async_playwright

from blog.core.net.address import Address
from blog.testing.harness import RunningBlog
from tests.e2e.readers import Open, Reader, chromium

STARTED_WITHIN = 30.0
BESIDE = "import blog.services\nblog.services.__path__.append({root!r})\n"


def free_port() -> int:
    """Find a port that nobody uses now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Find so many that nobody uses now, each another: one that is given back may be found again."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_until(condition: Callable[[], Any], seconds: float = 10.0, step: float = 0.02) -> Any:
    """Return what `condition` gives once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(step)
    return result


class Blog:
    """A running `blog up`."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        host = variables.get("BLOG_HOST", "127.0.0.1")
        self.url, self.admin = (Address.of(host, port).local.url() for port in free_ports(2))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
        self.environ = clean | {
            "BLOG_PUBLIC_PORT": self.url.rpartition(":")[2],
            "BLOG_ADMIN_PORT": self.admin.rpartition(":")[2],
            "BLOG_DATA_DIR": str(folder / "data"),
            "BLOG_WRITE_RATE": "0",
            **variables,
        }
        self.output = (folder / "up.txt").open("a+")
        self.start(*options)

    def start(self, *options: str) -> None:
        """Type `blog up`, once more where the one before was killed."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "blog", "up", *options],
            env=self.environ,
            cwd=self.folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill -9 `blog up`, and nothing else: what it started goes on. End that with `blog down`."""
        self.process.kill()
        self.process.wait(20)

    def cli(self, *words: str) -> str:
        """Run a command of the same blog; return what it printed."""
        try:
            return self._cli(*words)
        except subprocess.CalledProcessError as error:
            error.add_note(f"it printed: {error.stderr}; `blog up`: {self.process.poll()}")
            raise

    def _cli(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "blog", *words],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def table(self, service: str | None = None) -> list[dict[str, Any]]:
        """List the instances as the registry knows them."""
        token = (self.folder / "data" / "run" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(f"{self.admin}/v1/services", headers=headers, timeout=5)
        services = answer.json()["services"]
        return [row for rows in services.values() for row in rows if service in (None, row["service"])]

    def ready(self, service: str) -> list[dict[str, Any]]:
        """List the ready instances of `service`."""
        return [row for row in self.table(service) if row["state"] == "ready"]

    def wait_until_ready(self, **counts: int) -> None:
        """Wait until so many instances of each service are ready."""

        def is_ready() -> bool:
            try:
                return all(len(self.ready(name)) == count for name, count in counts.items())
            except (requests.RequestException, OSError):
                assert self.process.poll() is None, self.said()
                return False

        try:
            wait_until(is_ready, STARTED_WITHIN)
        except AssertionError:
            raise AssertionError(self.said()) from None

    def pid(self, row: dict[str, Any]) -> int:
        """Return the process of an instance."""
        return int(row["metadata"]["pid"])

    def said(self) -> str:
        """Return what `blog up` printed so far."""
        self.output.seek(0)
        return self.output.read()

    def stop(self, signum: int = signal.SIGINT) -> int:
        """Press Ctrl-C; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(20)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Blog]]:
    """Start blogs; every one is stopped at the end, and nothing may be left running."""
    blogs: list[Blog] = []

    def start(*options: str, folder: Path = tmp_path, **variables: str) -> Blog:
        blogs.append(Blog(folder, *options, **variables))
        return blogs[-1]

    yield start
    for blog in blogs:
        blog.stop()
        blog.output.close()
    assert not running_in(tmp_path)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Start Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def reader(blog: RunningBlog, browser: Browser) -> Open:
    """Open pages of the running blog, each with cookies of its own."""

    @asynccontextmanager
    async def open_page(**options: Any) -> AsyncIterator[Reader]:
        context = await browser.new_context(**options)
        context.set_default_timeout(15_000)
        reader = Reader(await context.new_page(), blog.url)
        yield reader
        await context.close()

    return open_page


def running_in(folder: Path) -> list[str]:
    """List processes whose environment names this folder as their data directory."""
    wanted = f"BLOG_DATA_DIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def json_lines(text: str) -> list[Any]:
    """Read lines of JSON."""
    return [json.loads(line) for line in text.splitlines() if line]


def services_beside(folder: Path, files: dict[str, str]) -> str:
    """Write services in a second root, as a repository of its own has them; return the PYTHONPATH."""
    for name, content in files.items():
        (folder / "services" / name).mkdir(parents=True)
        (folder / "services" / name / "service.py").write_text(content)
    path = folder / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(BESIDE.format(root=str(folder / "services")))
    return str(path)
