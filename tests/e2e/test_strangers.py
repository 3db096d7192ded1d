"""A stranger in the network, without any token: what it claims, and what it cannot find out."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from blog.registry.server.admission import IS_RESERVED
from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import THINGS, Hosts, Process

ADMIN, PUBLIC = 4000, 8080
OLD = "1970-01-01T00:00:00Z"


class Network:
    """A gateway without a token on one host, things on another, and a stranger's host."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.door = hosts.add("door")
        self.near = hosts.add("near")
        self.far = hosts.add("far")
        self.gateway = self.run("door", "gateway")
        self.run("near", str(THINGS), "1")
        wait_until(lambda: self.public("/things") == "thing", 30)

    def run(self, host: str, *words: str, **variables: str) -> Process:
        """Run a program without a token."""
        url = f"http://127.0.0.1:{ADMIN}" if host == "door" else f"http://{self.door}:{ADMIN}"
        with_url = {"BLOG_REGISTRY": url, **variables}
        return self.hosts.run(host, *words, BLOG_TOKEN=places.WITHOUT, **with_url)

    def public(self, path: str) -> str:
        """Read from the public port, from the stranger's host."""
        try:
            return self.ask("GET", path, port=PUBLIC)[1]
        except OSError:
            return ""

    def ask(self, method: str, path: str, body: object = None, port: int = ADMIN) -> tuple[int, str]:
        """Send a request from the stranger's host."""
        with self.hosts.inside("far"):
            connection = http.client.HTTPConnection(self.door, port, timeout=20)
            try:
                headers = {"Content-Type": "application/json"} if body is not None else {}
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, headers)
                response = connection.getresponse()
                return response.status, response.read().decode()
            finally:
                connection.close()

    def refused(self) -> set[tuple[str, str]]:
        """List who was refused by the gateway, by address, and where."""
        return {(line["peer"], line["route"]) for line in self.gateway.logged("request.refused")}

    def put(self, service: str, id_: str, **lease: Any) -> tuple[int, str]:
        """Put a lease from the stranger's host."""
        return self.ask("PUT", f"/v1/services/{service}/instances/{id_}", lease)

    def conflicts(self) -> set[tuple[str, str]]:
        """List whose routes are kept, and whose are refused."""
        found = json.loads(self.ask("GET", "/v1/routes")[1])["conflicts"]
        return {(one["kept_by"], one["refused"]) for one in found}

    def table(self) -> dict[str, list[dict[str, Any]]]:
        """Read the table."""
        found: dict[str, list[dict[str, Any]]] = json.loads(self.ask("GET", "/v1/services")[1])[
            "services"
        ]
        return found


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Give one for all tests; whatever was plugged into it is gone at the end."""
    places.require()
    hosts = Hosts(tmp_path_factory.mktemp("strangers"))
    try:
        hosts.add("reader")
        yield Network(hosts)
    finally:
        hosts.close()


def test_a_stranger_takes_no_route_and_nobodys_instance(network: Network) -> None:
    """Neither with an old clock nor with the id, the path or the name of another one."""
    [thing] = network.table()["things"]
    gateway = network.table()["gateway"][0]["id"]
    evil = network.run("far", str(Path(__file__).with_name("evil.py")))
    wait_until(lambda: [row["state"] for row in network.table().get("evil", ())] == ["ready"], 30)
    [row] = network.table()["evil"]
    assert row["started_at"] > thing["started_at"]
    assert network.public("/things") == "thing"
    wait_until(lambda: network.conflicts() == {("things", "evil")}, 30)  # the gateway follows the table
    address = f"{network.far}:1"
    assert network.put("things", thing["id"], address=address)[0] == 409
    assert network.ask("DELETE", f"/v1/services/things/instances/{thing['id']}")[0] == 409
    assert network.ask("DELETE", f"/v1/services/things/instances/{thing['id']}?force=true")[0] == 403
    assert network.ask("DELETE", f"/v1/services/posts/instances/{gateway}")[0] == 404
    assert network.put("gateway", "g2", address=address)[0] == 403
    status, said = network.ask("PUT", "/v1/log", {"log": "mine"})
    assert status == 403
    assert "docker exec" in said
    assert {row["id"] for row in network.table()["things"]} == {thing["id"]}
    assert evil.popen.poll() is None
    evil.end()


def test_a_stranger_cannot_scan_the_registrys_network(network: Network) -> None:
    """Its loopback, other networks, open, closed and silent ports: one response."""
    with network.hosts.inside("near"):
        silent = socket.create_server((network.near, 0))
    with silent:
        port = silent.getsockname()[1]
        addresses = (
            f"127.0.0.1:{ADMIN}",
            f"{network.near}:{port}",
            f"{network.near}:1",
            "169.254.169.254:80",
        )
        before = len(network.gateway.logged("instance.dial_back_failed"))
        found = {network.put("posts", "x", address=one) for one in addresses}
    reasons = {(status, json.loads(body)["why"].partition(";")[0]) for status, body in found}
    assert reasons == {(422, "not reachable")}
    assert len(network.gateway.logged("instance.dial_back_failed")) - before == len(addresses)


class FirstBus(NamedTuple):
    """The bus whose log the registry knows from then on: its process, and its row."""

    process: Process
    row: dict[str, Any]


@pytest.fixture(scope="module")
def first(network: Network) -> FirstBus:
    """Run it."""
    process = network.run("near", "bus")
    wait_until(lambda: [row["state"] for row in network.table().get("bus", ())] == ["ready"], 30)
    return FirstBus(process, network.table()["bus"][0])


def test_a_bus_that_was_moved_is_back_when_the_old_one_is_lost(network: Network, first: FirstBus) -> None:
    """A second one on another host waits for that; both say why."""
    process, row = first
    data = next(path for path in network.hosts.folder.glob("data-near-*") if (path / "bus").exists())
    second = network.run("far", "bus")
    wait_until(lambda: (network.far, "/v1/session") in network.refused(), 30)
    wait_until(lambda: bool(second.logged("registry.rejected")), 30)
    assert {line["reason"] for line in second.logged("registry.rejected")} == {IS_RESERVED}
    assert IS_RESERVED in {line["reason"] for line in network.gateway.logged("request.refused")}
    assert [one["id"] for one in network.table()["bus"]] == [row["id"]]
    second.end()
    process.end()
    moved = network.run("far", "bus", BLOG_DATA_DIR=str(data))
    wait_until(
        lambda: (
            [one["state"] for one in network.table().get("bus", ()) if one["id"] != row["id"]]
            == ["ready"]
        ),
        40,
    )
    assert moved.popen.poll() is None
    moved.end()


def test_an_operator_adopts_a_log_where_the_registry_runs(network: Network, first: FirstBus) -> None:
    """`blog bus --adopt` elsewhere says which command; after it the bus goes on by itself."""
    first.process.end()
    second = network.run("far", "bus", "--adopt")
    wait_until(lambda: bool(second.logged("log.not_adopted")), 30)
    [line] = second.logged("log.not_adopted")
    _, _, identity = line["next"].partition("blog log adopt ")
    identity = identity.partition("`")[0]
    assert identity
    assert identity != first.row["metadata"]["log"]
    data = next(path for path in network.hosts.folder.glob("data-door-*") if (path / "gateway").exists())
    command = network.run("door", "log", "adopt", identity, BLOG_DATA_DIR=str(data))
    assert command.popen.wait(30) == 0
    assert identity in command.said()
    wait_until(
        lambda: (
            [(one["metadata"]["log"], one["state"]) for one in network.table().get("bus", ())]
            == [(identity, "ready")]
        ),
        40,
    )
