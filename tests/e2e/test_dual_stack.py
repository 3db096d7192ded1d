"""BLOG_HOST=:: is IPv4 and IPv6, on a machine that has both, or only the first. Real networks."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import AUTH, ROOT, THINGS, TOKEN, Hosts, ip

BUS, THING, ALONE = "8001", "8002", "4001"
FOUR, SIX = "127.0.0.1", "[::1]"


class One:
    """A machine of its own; `has` are the addresses at which it reaches itself."""

    def __init__(self, hosts: Hosts, *, has_ipv6: bool) -> None:
        self.hosts = hosts
        self.has = {FOUR, SIX} if has_ipv6 else {FOUR}
        hosts.add("one")
        if not has_ipv6:  # as Docker makes a container in a network without it
            for name in ("all", "default", "lo", "eth0"):
                setting = f"net.ipv6.conf.{name}.disable_ipv6=1"
                ip("netns", "exec", hosts.namespace("one"), "sysctl", "-qw", setting)

    def blog(self, *words: str, **variables: str) -> str:
        """Type a command of blog's; return what it printed."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
        return subprocess.run(
            ["ip", "netns", "exec", self.hosts.namespace("one"), sys.executable, "-m", "blog", *words],
            env=clean | {"PYTHONPATH": str(ROOT), "BLOG_TOKEN": TOKEN} | variables,
            cwd=self.hosts.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout


BOTH, ONLY_IPV4 = "both", "IPv4 only"


@pytest.fixture(params=[BOTH, ONLY_IPV4])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[One]:
    """Give a machine, and be there."""
    places.require()
    hosts = Hosts(tmp_path)
    try:
        made = One(hosts, has_ipv6=request.param == BOTH)
        with hosts.inside("one"):
            yield made
    finally:
        hosts.close()


def answers(port: str, path: str, trusted: Path | None = None) -> set[str]:
    """Return the addresses at which a port answers with 200; over TLS with a certificate to trust."""
    found = set()
    for address in (FOUR, SIX):
        url = f"{'https' if trusted else 'http'}://{address}:{port}{path}"
        try:
            answer = requests.get(url, headers=AUTH, timeout=5, verify=str(trusted or ""))
        except requests.RequestException:
            continue
        if answer.status_code == 200:
            found.add(address)
    return found


@pytest.mark.parametrize(("workers", "scheme"), [("1", "https"), ("2", "http")])
def test_every_port_listens_on_both(
    one: One, workers: str, scheme: str, tls_files: tuple[Path, Path]
) -> None:
    """The public port of one process and of several, plain and over TLS, and every other port.

    Those are the admin API's, the bus's, an instance's and that of a registry alone.
    """
    trusted, key = tls_files
    is_tls = scheme == "https"
    tls = {"BLOG_TLS_CERT": str(trusted), "BLOG_TLS_KEY": str(key)} if is_tls else {}
    one.hosts.run("one", "gateway", BLOG_HOST="::", BLOG_WORKERS=workers, **tls)
    one.hosts.run("one", "bus", BLOG_HOST="::", BLOG_PORT=BUS)
    one.hosts.run("one", str(THINGS), "1", BLOG_HOST="::", BLOG_PORT=THING)
    one.hosts.run("one", "registry", BLOG_HOST="::", BLOG_ADMIN_PORT=ALONE)
    for port in ("4000", BUS, THING, ALONE):
        wait_until(lambda: answers(port, "/readyz") == one.has, 30)
    for _ in range(8):  # the kernel spreads connections over the workers
        wait_until(lambda: answers("8080", "/things", trusted if is_tls else None) == one.has, 30)
    for address in one.has:  # what takes appends before anything else has the connection
        appended = requests.post(f"http://{address}:{BUS}/events", data=b"{}", headers=AUTH, timeout=5)
        assert appended.status_code == 415
        assert "Accept" in appended.headers


@pytest.mark.parametrize(
    ("one", "name"), [(BOTH, "::"), (ONLY_IPV4, "::"), (BOTH, "localhost")], indirect=["one"]
)
def test_a_whole_blog_runs_and_is_looked_after(one: One, name: str) -> None:
    """What starts it, lists it, checks it and ends it finds every instance, whatever the machine has."""
    named = {info[4][0] for info in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)}
    expected = (
        one.has if name == "::" else one.has & {FOUR if "." in str(host) else SIX for host in named}
    )
    variables = {"BLOG_HOST": name, "BLOG_DATA_DIR": str(one.hosts.folder / "data")}
    up = one.hosts.run("one", "up", **variables)
    wait_until(lambda: "ready after" in up.said(), 60)
    assert answers("8080", "/posts") == expected
    assert answers("4000", "/readyz") == expected
    assert {row["state"] for row in json.loads(one.blog("ps", "--json", **variables))} == {"ready"}
    assert "No instance" not in one.blog("healthcheck", "--ready", **variables)
    assert "nothing is left running" in one.blog("down", **variables)
    up.popen.wait(30)


def test_a_port_that_is_taken_in_one_family_is_taken(one: One) -> None:
    """Half of the readers would meet another program; the error says which setting to change."""
    families = {"0.0.0.0": socket.AF_INET, "127.0.0.1": socket.AF_INET}
    families |= {"::1": socket.AF_INET6} if SIX in one.has else {}
    for address, family in families.items():
        with socket.socket(family) as other:
            other.bind((address, 8080))
            other.listen()
            process = one.hosts.run("one", "gateway", BLOG_HOST="::")
            assert process.popen.wait(30) == 2, address
            assert "BLOG_PUBLIC_PORT=8080" in process.said(), address
