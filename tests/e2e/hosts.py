"""Hosts for tests: network namespaces on one switch, whose links can be cut for real.

Everything lives in namespaces of its own; nothing of the machine's network is touched.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import wait_until

REQUIRED = "BLOG_REQUIRE_NETNS"
TOKEN = "token-of-a-partition"
WITHOUT = ""
"""As a value of a variable: it is not set."""
AUTH = {"Authorization": f"Bearer {TOKEN}"}
ROOT = Path(__file__).parents[2]
THINGS = Path(__file__).with_name("things.py")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> str:
    """Run `ip`; return what it said. Raises RuntimeError with why not."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def require() -> None:
    """Skip where there can be no namespaces, or fail where BLOG_REQUIRE_NETNS asks for them."""
    name = f"blogtest-{uuid.uuid4().hex[:8]}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, RuntimeError) as error:
        say = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
        say(f"no network namespaces here: {error}")


def _enter(path: str) -> None:
    with Path(path).open() as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")


class Process:
    """A process on a host; its log lines are JSON."""

    def __init__(self, popen: subprocess.Popen[bytes], output: Path) -> None:
        self.popen = popen
        self._output = output

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; return when, on the wall clock."""
        self.popen.send_signal(number)
        return time.time()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """List its log lines of this event."""
        lines = self._output.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def said(self) -> str:
        """Return all that it said."""
        return self._output.read_text()

    def end(self) -> None:
        """Kill it, stopped or not."""
        self.popen.kill()
        self.popen.wait(10)


class Hosts:
    """A switch, hosts on it, and the processes that run there."""

    def __init__(self, folder: Path, token: str | None = TOKEN) -> None:
        self.folder = folder
        self.token = token
        self.tag = f"blogtest-{uuid.uuid4().hex[:8]}"
        self._names: list[str] = []
        self._processes: list[Process] = []
        self.add_namespace("switch")
        ip("-n", self.namespace("switch"), "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        ip("-n", self.namespace("switch"), "link", "set", "br0", "up")

    def namespace(self, name: str) -> str:
        """Return the namespace of a host."""
        return f"{self.tag}-{name}"

    def add_namespace(self, name: str) -> None:
        """Make one, with loopback."""
        ip("netns", "add", self.namespace(name))
        self._names.append(name)
        ip("-n", self.namespace(name), "link", "set", "lo", "up")

    def add(self, name: str) -> str:
        """Plug in a host; return its address."""
        self.add_namespace(name)
        number = len(self._names)
        switch, host = self.namespace("switch"), self.namespace(name)
        link = ("link", "add", f"to-{number}", "netns", switch, "type", "veth")
        ip(*link, "peer", "name", "eth0", "netns", host)
        ip("-n", switch, "link", "set", f"to-{number}", "master", "br0", "up")
        ip("-n", host, "link", "set", "eth0", "up")
        address = f"10.77.0.{number}"
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
        return address

    def cut(self, name: str) -> float:
        """Cut the link of a host: power loss, as others see it. Return when, on the wall clock."""
        ip("-n", self.namespace("switch"), "link", "set", self._port(name), "down")
        return time.time()

    def mend(self, name: str) -> None:
        """Plug it in again."""
        ip("-n", self.namespace("switch"), "link", "set", self._port(name), "up")

    def masquerade(self, name: str, inside: str, target: str, port: str) -> None:
        """Make a host a router with NAT for the network `inside`; `port` is forwarded to `target`."""
        nat = ("iptables", "-w", "-t", "nat", "-A")
        commands = [
            ("sysctl", "-qw", "net.ipv4.ip_forward=1"),
            (*nat, "POSTROUTING", "-s", inside, "-o", "eth0", "-j", "MASQUERADE"),
            (*nat, *f"PREROUTING -i eth0 -p tcp --dport {port} -j DNAT --to".split(), target),
        ]
        for command in commands:
            ip("netns", "exec", self.namespace(name), *command)

    def _port(self, name: str) -> str:
        return f"to-{self._names.index(name) + 1}"

    def run(self, host: str, *words: str, **variables: str) -> Process:
        """Run a command of blog's on a host; or a program, if the first word is a path."""
        output = self.folder / f"{host}-{len(self._processes)}.txt"
        script = words[0].endswith(".py")
        command = [sys.executable, *([] if script else ["-m", "blog"]), *words]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
        settings = {
            "BLOG_HOST": "0.0.0.0",
            "BLOG_DATA_DIR": str(self.folder / f"data-{host}-{len(self._processes)}"),
            **({"BLOG_TOKEN": self.token} if self.token else {}),
            "BLOG_WRITE_RATE": "0",
            "BLOG_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
        with output.open("wb") as file:
            popen = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(host), *command],
                env={
                    name: value
                    for name, value in (clean | settings | variables).items()
                    if value != WITHOUT
                },
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(Process(popen, output))
        return self._processes[-1]

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let this thread, and those that it starts, be on a host."""
        before = f"/proc/self/task/{_libc.gettid()}/ns/net"
        with Path(before).open() as home:
            _enter(f"/run/netns/{self.namespace(name)}")
            try:
                yield
            finally:
                _libc.setns(home.fileno(), _CLONE_NEWNET)

    def close(self) -> None:
        """End every process and take everything away."""
        with ExitStack() as stack:
            for name in self._names:
                stack.callback(ip, "netns", "del", self.namespace(name))
            for process in self._processes:
                stack.callback(process.end)
        assert self.tag not in ip("netns", "list")
        assert not any(self.tag in place for place in ip("-o", "link").splitlines())


def states(registry: str, service: str = "things") -> dict[str, str]:
    """Ask a registry for its instances of a service: id → state."""
    answer = requests.get(f"{registry}/v1/services/{service}", headers=AUTH, timeout=5)
    assert answer.status_code == 200
    return {row["id"]: row["state"] for row in answer.json()}


def wait_until_ready(registry: str, count: int, service: str = "things") -> None:
    """Wait until so many are ready there, and nobody else is listed."""

    def is_so() -> bool:
        try:
            found = states(registry, service)
        except (requests.RequestException, OSError):
            return False
        return len(found) == count and set(found.values()) == {"ready"}

    wait_until(is_so, 30)
