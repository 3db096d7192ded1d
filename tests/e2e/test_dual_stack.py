"""BLOG_HOST=:: is both kinds of addresses, on a machine that has both, one of them, or hardly any. Real networks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import AUTH, THINGS, Hosts, ip

PORT = "8000"
BOTH = {"127.0.0.1", "[::1]"}
ALONE = {"127.0.0.1"}


@pytest.fixture(params=["both", "IPv4 only"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Hosts, set[str]]]:
    """Give a machine, and the addresses at which it reaches itself: as Docker makes a container, or not."""
    places.require()
    made = Hosts(tmp_path)
    try:
        made.add("one")
        if request.param == "IPv4 only":
            for name in ("all", "default", "lo", "eth0"):
                ip(
                    "netns",
                    "exec",
                    made.namespace("one"),
                    "sysctl",
                    "-qw",
                    f"net.ipv6.conf.{name}.disable_ipv6=1",
                )
        with made.inside("one"):
            yield made, BOTH if request.param == "both" else ALONE
    finally:
        made.close()


def answers(port: str, path: str, scheme: str = "http") -> set[str]:
    """Return the addresses at which a port answers with 200."""
    found = set()
    for address in BOTH:
        try:
            answer = requests.get(
                f"{scheme}://{address}:{port}{path}", headers=AUTH, timeout=5, verify=False
            )
        except (requests.RequestException, OSError):
            continue
        if answer.status_code == 200:
            found.add(address)
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_port_listens_on_both(
    host: tuple[Hosts, set[str]], workers: str, scheme: str, tls_files: tuple[Path, Path]
) -> None:
    """The public port of one process or of several, plain or TLS; admin API, bus and its fast path, instance."""
    hosts, both = host
    tls = dict(zip(("BLOG_TLS_CERT", "BLOG_TLS_KEY"), map(str, tls_files), strict=True))
    hosts.run(
        "one", "gateway", BLOG_HOST="::", BLOG_WORKERS=workers, **(tls if scheme == "https" else {})
    )
    hosts.run("one", "bus", BLOG_HOST="::", BLOG_PORT="8001")
    hosts.run("one", str(THINGS), "1", BLOG_HOST="::", BLOG_PORT=PORT)
    wait_until(lambda: answers("4000", "/readyz") == both, 30)
    wait_until(lambda: answers("8001", "/readyz") == both, 30)
    wait_until(lambda: answers(PORT, "/readyz") == both, 30)
    for _ in range(8):  # the kernel spreads connections over the workers
        wait_until(lambda: answers("8080", "/things", scheme) == both, 30)
    for address in both:
        event = {"type": "Noted", "id": "5b0e1c9e-0000-4000-8000-000000000001", "data": {}}
        answer = requests.post(f"http://{address}:8001/events", json=[event], headers=AUTH, timeout=5)
        assert answer.status_code in (200, 201, 400, 422), answer.text  # it is the log's answer
        assert answer.headers["Content-Type"].startswith("application/")


@pytest.mark.parametrize("name", ["::", "localhost"])
def test_a_whole_blog_runs_and_is_looked_after(host: tuple[Hosts, set[str]], name: str) -> None:
    """`blog up`, `blog ps`, the health check and `blog down` find every instance, whatever the machine has."""
    hosts, both = host
    variables = {"BLOG_HOST": name, "BLOG_DATA_DIR": str(hosts.folder / "data")}
    up = hosts.run("one", "up", **variables)
    wait_until(lambda: up.logged("blog.ready") or "ready after" in up.said(), 60)
    assert answers("8080", "/posts") == both
    assert answers("4000", "/readyz") == both

    def blog(*words: str) -> str:
        return subprocess.run(
            ["ip", "netns", "exec", hosts.namespace("one"), sys.executable, "-m", "blog", *words],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(places.ROOT), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=hosts.folder,
        ).stdout

    assert {row["state"] for row in json.loads(blog("ps", "--json"))} == {"ready"}
    assert "No instance" not in blog("healthcheck", "--ready")
    blog("down")
    up.popen.wait(30)
