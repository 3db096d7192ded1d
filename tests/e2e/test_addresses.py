"""Instances are found at the address they announce, or the error says what to set. Real networks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import AUTH, THINGS, Hosts, Process, ip, wait_until_ready

REGISTRY, PORT = "10.77.0.3", "8000"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Plug in a reader and a registry; there is place for more."""
    places.require()
    made = Hosts(tmp_path)
    try:
        made.add("reader")
        assert made.add("registry") == REGISTRY
        made.run("registry", "registry")
        with made.inside("reader"):
            wait_until_ready(f"http://{REGISTRY}:4000", 1, "registry")
            yield made
    finally:
        made.close()


def things(hosts: Hosts, host: str, registry: str = REGISTRY, **variables: str) -> Process:
    """Run an instance at a port that is known."""
    url = f"http://{registry}:4000"
    return hosts.run(host, str(THINGS), "1", BLOG_REGISTRY=url, BLOG_PORT=PORT, **variables)


def address_of(state: str = "ready", registry: str = REGISTRY) -> str:
    """Return the address of the one instance, once it is in this state."""

    def rows() -> list[str]:
        try:
            answer = requests.get(f"http://{registry}:4000/v1/services/things", headers=AUTH, timeout=5)
        except requests.ConnectionError:
            return []
        return [row["address"] for row in answer.json() if row["state"] == state]

    [found] = wait_until(rows, 20)
    return str(found)


def refusal(process: Process) -> str:
    """Return why the instance was refused, as it says itself."""
    return str(wait_until(lambda: process.logged("instance.dial_back_failed"), 20)[0]["reason"])


def test_of_several_interfaces_it_is_the_one_that_leads_to_the_registry(hosts: Hosts) -> None:
    """Another one may be the first, or the default route."""
    address = hosts.add("two-homed")
    space = hosts.namespace("two-homed")
    ip("-n", space, "link", "add", "other0", "type", "bridge")
    ip("-n", space, "addr", "add", "192.168.99.1/24", "dev", "other0")
    ip("-n", space, "link", "set", "other0", "up")
    ip("-n", space, "route", "add", "default", "dev", "other0")
    things(hosts, "two-homed")
    assert address_of() == f"{address}:{PORT}"


OVERLAY, BRIDGE = "10.88.0", "172.18.0"
"""The network of a stack, and the one that every machine has for the way outward (`docker_gwbridge`)."""


def two_networks(hosts: Hosts, *names: str) -> None:
    """Give hosts a second interface each: it has the network of the blog, eth0 has the default route."""
    for number, name in enumerate(names, start=10):
        hosts.add(name)
        space = hosts.namespace(name)
        ip("-n", space, "addr", "flush", "dev", "eth0")
        ip("-n", space, "addr", "add", f"{BRIDGE}.{number}/24", "dev", "eth0")
        ip("-n", space, "route", "add", "default", "via", f"{BRIDGE}.1")
        ip(
            "-n",
            space,
            "link",
            "add",
            "link",
            "eth0",
            "name",
            "eth1",
            "type",
            "macvlan",
            "mode",
            "bridge",
        )
        ip("-n", space, "link", "set", "eth1", "up")
        ip("-n", space, "addr", "add", f"{OVERLAY}.{number}/24", "dev", "eth1")
        ip("-n", space, "addr", "add", f"fd88::{number}/64", "dev", "eth1", "nodad")


def addresses(registry: str, service: str) -> set[str]:
    """List where a registry says that the ready instances of a service are."""
    url = f"http://{registry}:4000/v1/services/{service}"
    try:
        rows = requests.get(url, headers=AUTH, timeout=5).json()
    except requests.ConnectionError:
        return set()
    return {row["address"] for row in rows if row["state"] == "ready"}


@pytest.mark.parametrize("named", [f"{OVERLAY}.10", f"{OVERLAY}.99", "[fd88::99]", "127.0.0.1"])
@pytest.mark.parametrize("program", ["gateway", "registry"])
def test_a_registry_is_found_on_the_network_where_it_is_reached(
    hosts: Hosts, program: str, named: str
) -> None:
    """Not on that of the default route: by the name in BLOG_REGISTRY, whatever a service has for address.

    Where that says nothing, the first instance that joins does.
    """
    two_networks(hosts, "node-1", "node-2")
    hosts.run("node-1", program, BLOG_HOST="::", BLOG_REGISTRY=f"http://{named}:4000")
    expected = f"{OVERLAY}.10:4000" if "fd88" not in named else "[fd88::10]:4000"
    with hosts.inside("node-2"):
        if named != "127.0.0.1":
            wait_until(lambda: addresses(f"{OVERLAY}.10", program) == {expected}, 20)
        # as an IPv6 network that it was found by, or by IPv4, it is where the instance came from
        things(hosts, "node-2", f"{OVERLAY}.10", BLOG_HOST="::")
        wait_until(lambda: addresses(f"{OVERLAY}.10", "things") == {f"{OVERLAY}.11:{PORT}"}, 20)
        wait_until(lambda: addresses(f"{OVERLAY}.10", program) == {f"{OVERLAY}.10:4000"}, 20)


def test_gateways_know_each_other_by_the_network_between_them(hosts: Hosts) -> None:
    """Each is in its own registry and in the other's; both tell the same address of it."""
    two_networks(hosts, "node-1", "node-2")
    both = ",".join(f"http://{OVERLAY}.{number}:4000" for number in (10, 11))
    for node in ("node-1", "node-2"):
        hosts.run(node, "gateway", BLOG_HOST="::", BLOG_REGISTRY=both)
    expected = {f"{OVERLAY}.10:4000", f"{OVERLAY}.11:4000"}
    with hosts.inside("node-2"):
        for number in (10, 11):
            wait_until(lambda: addresses(f"{OVERLAY}.{number}", "gateway") == expected, 30)


def test_each_of_two_registries_is_told_the_address_on_its_network(hosts: Hosts) -> None:
    """An instance between two networks: the last one that it joined changes nothing at the first."""
    two_networks(hosts, "node-1", "node-2")
    hosts.run("node-1", "registry", BLOG_HOST=f"{OVERLAY}.10")
    hosts.run("node-1", "registry", BLOG_HOST=f"{BRIDGE}.10")
    both = f"{OVERLAY}.10:4000,http://{BRIDGE}.10"
    things(hosts, "node-2", both, BLOG_HOST="::")
    with hosts.inside("node-2"):
        for network in (OVERLAY, BRIDGE):
            wait_until(lambda: addresses(f"{network}.10", "things") == {f"{network}.11:{PORT}"}, 30)


def test_one_address_that_it_listens_on_is_its_address(hosts: Hosts) -> None:
    """Even if the way to the registry begins at another one."""
    hosts.add("two-addresses")
    space = hosts.namespace("two-addresses")
    ip("-n", space, "addr", "add", "10.77.0.200/24", "dev", "eth0")
    things(hosts, "two-addresses", BLOG_HOST="10.77.0.200")
    assert address_of() == f"10.77.0.200:{PORT}"


def test_over_ipv6_it_is_found_by_ipv6(hosts: Hosts) -> None:
    """In brackets, and dialled back there."""
    for number, name in enumerate(("reader", "registry-six", "six"), start=1):
        if name != "reader":
            hosts.add(name)
        place = ("addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        ip("-n", hosts.namespace(name), *place)
    hosts.run("registry-six", "registry", BLOG_HOST="::")
    things(hosts, "six", "[fd77::2]", BLOG_HOST="::")
    assert address_of(registry="[fd77::2]") == f"[fd77::3]:{PORT}"


def test_who_listens_on_ipv4_is_found_there_though_it_comes_by_ipv6(hosts: Hosts) -> None:
    """A name has both kinds of addresses, and IPv6 is tried first: nobody could dial that."""
    names = (
        Path("/etc/netns") / hosts.namespace("four") / "hosts"
    )  # what `ip netns exec` shows it as /etc/hosts
    hosts.add("both")
    address = hosts.add("four")
    for number, name in enumerate(("reader", "registry", "both", "four"), start=1):
        ip("-n", hosts.namespace(name), "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
    hosts.run("both", "registry", BLOG_HOST="::")
    names.parent.mkdir(parents=True)
    try:
        names.write_text("fd77::3 both.test\n10.77.0.4 both.test\n")
        things(hosts, "four", "both.test", BLOG_HOST="0.0.0.0")
        assert address_of(registry="[fd77::3]") == f"{address}:{PORT}"
    finally:
        names.unlink(missing_ok=True)
        names.parent.rmdir()


def test_who_listens_for_itself_alone_is_told_so(hosts: Hosts) -> None:
    """The most frequent mistake: BLOG_HOST was left at loopback on another machine."""
    address = hosts.add("shy")
    process = things(hosts, "shy", BLOG_HOST="127.0.0.1")
    assert "BLOG_HOST=0.0.0.0" in refusal(process)
    assert address_of("starting") == f"{address}:{PORT}"


def test_an_address_of_the_registrys_own_machine_is_refused_with_the_right_one(hosts: Hosts) -> None:
    """Loopback, advertised from elsewhere."""
    address = hosts.add("misled")
    process = things(hosts, "misled", BLOG_ADVERTISE=f"127.0.0.1:{PORT}")
    assert f"BLOG_ADVERTISE={address}:{PORT}" in refusal(process)


def test_behind_nat_it_is_told_to_forward_a_port_and_then_found_there(hosts: Hosts) -> None:
    """Its own address means nothing outside; the one of the router does, with a port forwarded."""
    router = hosts.add("router")
    hosts.add_namespace("hidden")
    outside, inside = hosts.namespace("router"), hosts.namespace("hidden")
    ip("link", "add", "lan0", "netns", outside, "type", "veth", "peer", "name", "eth0", "netns", inside)
    for space, device, address in ((outside, "lan0", "192.168.7.1"), (inside, "eth0", "192.168.7.2")):
        ip("-n", space, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", space, "link", "set", device, "up")
    ip("-n", inside, "route", "add", "default", "via", "192.168.7.1")
    hosts.masquerade("router", "192.168.7.0/24", f"192.168.7.2:{PORT}", "9000")
    lost = things(hosts, "hidden")
    why = refusal(lost)
    assert "NAT" in why
    assert router in why
    lost.end()
    things(hosts, "hidden", BLOG_ADVERTISE=f"{router}:9000")
    assert address_of() == f"{router}:9000"
