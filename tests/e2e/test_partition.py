"""Real partitions: hosts that lose their link, stop, die or flap, and readers who do not notice."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import THINGS, Hosts, Process, states, wait_until_ready
from tests.e2e.test_kill import Traffic, served_by

IS_LONG = "BLOG_CHAOS_ROUNDS" in os.environ
TRIALS = int(os.environ.get("BLOG_CHAOS_ROUNDS", "3"))
OUT_WITHIN = 5.0
INNER, PUBLIC = "4000", "8080"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Give a switch; whatever was plugged into it is gone at the end."""
    places.require()
    made = Hosts(tmp_path)
    try:
        made.add("reader")
        with made.inside("reader"):
            yield made
    finally:
        made.close()


class Site:
    """A gateway on one host, things on others, and a reader who asks all the time."""

    def __init__(self, hosts: Hosts, *registries: str, **variables: str) -> None:
        self.hosts = hosts
        address = hosts.add("door")
        self.url = f"http://{address}:{PUBLIC}"
        self.inner = f"http://{address}:{INNER}"
        self.registry = registries[0] if registries else self.inner
        self.registries = ",".join(registries or (self.inner,))
        embeds = "false" if registries else "true"
        self.gateway = hosts.run(
            "door", "gateway", BLOG_EMBED_REGISTRY=embeds, BLOG_REGISTRY=self.registries, **variables
        )

    def things(self, host: str, count: int = 1, *, is_new: bool = True) -> Process:
        """Run instances on a host of their own."""
        if is_new:
            self.hosts.add(host)
        return self.hosts.run(host, str(THINGS), str(count), BLOG_REGISTRY=self.registries)

    def traffic(self) -> Traffic:
        """Make the reader."""
        return Traffic(lambda session: session.get(f"{self.url}/things", timeout=20))

    def wait(self, count: int) -> None:
        """Wait until so many are ready, and the gateway serves."""
        try:
            wait_until_ready(self.registry, count)
            wait_until(lambda: status(f"{self.url}/things") == 200)
        except AssertionError as error:
            raise AssertionError(self.gateway.said()) from error


def status(url: str) -> int:
    """Ask once."""
    try:
        return requests.get(url, timeout=5).status_code
    except requests.RequestException:
        return 0


def no_errors(traffic: Traffic) -> None:
    """Check that readers saw nothing but answers."""
    assert not traffic.errors
    assert traffic.statuses().keys() == {200}


def flowed(traffic: Traffic, more: int = 50) -> None:
    """Wait until it has flowed on from now."""
    seen = len(traffic.answers)
    wait_until(lambda: traffic.more_than(seen + more), 30)


def at(line: dict[str, str]) -> float:
    """Return when a line was logged, on the wall clock."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def became(gateway: Process, id_: str, state: str) -> float:
    """Return when the registry in the gateway told that an instance is in this state."""

    def found() -> list[float]:
        lines = gateway.logged("instance.changed")
        return [at(line) for line in lines if (line["id"], line["state"]) == (id_, state)]

    return float(wait_until(found, 20)[-1])


@pytest.mark.parametrize("how", ["power loss", "SIGSTOP"])
def test_a_silent_instance_is_out_within_five_seconds_and_back_by_itself(hosts: Hosts, how: str) -> None:
    """Readers see no error, and nobody does anything for it to come back."""
    site = Site(hosts)
    site.things("other")
    site.wait(1)
    [other] = states(site.registry)
    victim = site.things("victim")
    site.wait(2)
    [lost] = states(site.registry).keys() - {other}
    traffic = site.traffic()
    with traffic.flowing():
        flowed(traffic)
        began = hosts.cut("victim") if how == "power loss" else victim.signal(signal.SIGSTOP)
        out = became(site.gateway, lost, "suspect") - began
        assert out < OUT_WITHIN
        if IS_LONG:  # for longer than it takes to be lost
            wait_until(lambda: lost not in states(site.registry), 20)
        seen = len(traffic.answers)
        flowed(traffic)
        assert {served_by(answer) for _, answer in traffic.answers[seen + 4 :]} == {other}
        if how == "power loss":
            hosts.mend("victim")
        else:
            victim.signal(signal.SIGCONT)
        mended = time.monotonic()
        wait_until_ready(site.registry, 2)
        back = time.monotonic() - mended
        seen = len(traffic.answers)
        wait_until(lambda: lost in {served_by(answer) for _, answer in traffic.answers[seen:]})
    no_errors(traffic)
    print(f"{how}: out after {out:.2f} s, back {back:.2f} s after the end of it")


def test_a_killed_instance_gets_no_request_after_a_tenth_of_a_second(hosts: Hosts) -> None:
    """Its host still runs, its process does not: refused, reported, told, and tried no more."""
    site = Site(hosts)
    site.things("other")
    hosts.add("victim")
    last: list[float] = []
    for _ in range(TRIALS):
        before = states(site.registry).keys() if last else set()
        victim = site.things("victim", is_new=False)
        site.wait(2)
        if not before:
            before = {id_ for id_ in states(site.registry) if id_ not in victim.said()}
        [id_] = states(site.registry).keys() - before
        traffic = site.traffic()
        with traffic.flowing():
            flowed(traffic, 30)
            killed = victim.signal(signal.SIGKILL)
            wait_until(lambda: id_ not in states(site.registry))
            flowed(traffic, 60)
        no_errors(traffic)
        tries = [line for line in site.gateway.logged("upstream.unreachable") if line["id"] == id_]
        last.append(max([became(site.gateway, id_, "lost"), *map(at, tries)]) - killed)
    assert max(last) < 0.1
    print(f"{TRIALS} kills: the last try or word after {sorted(round(one * 1000) for one in last)} ms")


def test_gateway_and_registry_cut_off_from_each_other(hosts: Hosts) -> None:
    """Requests go on with what the gateway knew, even if somebody dies meanwhile."""
    registry = f"http://{hosts.add('registry')}:{INNER}"
    hosts.run("registry", "registry")
    site = Site(hosts, registry)
    site.things("a")
    victim = site.things("b")
    site.wait(2)
    traffic = site.traffic()
    with traffic.flowing():
        flowed(traffic)
        hosts.cut("registry")
        flowed(traffic)
        victim.signal(signal.SIGKILL)
        flowed(traffic, 100)
        if IS_LONG:
            time.sleep(30)
        hosts.mend("registry")
        wait_until_ready(registry, 1)
        flowed(traffic)
        site.things("b", is_new=False)
        wait_until_ready(registry, 2)
        seen = len(traffic.answers)
        wait_until(lambda: len({served_by(a) for _, a in traffic.answers[seen:]}) == 2)
    no_errors(traffic)


def test_a_registry_that_is_restarted(hosts: Hosts) -> None:
    """Kill -9, and a new one without any memory: readers notice nothing, and nobody is missing."""
    registry = f"http://{hosts.add('registry')}:{INNER}"
    old = hosts.run("registry", "registry")
    site = Site(hosts, registry)
    site.things("a", 3)
    site.wait(3)
    ids = states(registry)
    traffic = site.traffic()
    with traffic.flowing():
        for _ in range(3 if IS_LONG else 1):
            flowed(traffic)
            old.signal(signal.SIGKILL)
            flowed(traffic)
            old = hosts.run("registry", "registry")
            wait_until_ready(registry, 3)
            assert states(registry) == ids
            flowed(traffic)
    no_errors(traffic)


def test_one_of_two_registries_is_cut_off(hosts: Hosts) -> None:
    """The other one knows of everything that happens meanwhile, within milliseconds."""
    names = ("one", "two")
    both = [f"http://{hosts.add(name)}:{INNER}" for name in names]
    for name in names:
        hosts.run(name, "registry")
    site = Site(hosts, *both)
    site.things("a")
    site.wait(1)
    victim = site.things("b")
    site.wait(2)
    wait_until_ready(both[1], 2)
    traffic = site.traffic()
    with traffic.flowing():
        for name, other in zip(names, both[::-1], strict=True):
            flowed(traffic)
            hosts.cut(name)
            flowed(traffic)
            before = set(states(other))
            victim.signal(signal.SIGKILL)
            wait_until(lambda: len(states(other)) == 1, 1.0)
            victim = site.things("b", is_new=False)
            wait_until_ready(other, 2)
            new = (states(other).keys() - before).pop()
            seen = len(traffic.answers)
            wait_until(lambda: new in {served_by(a) for _, a in traffic.answers[seen:]})
            hosts.mend(name)
            for registry in both:
                wait_until_ready(registry, 2)
    no_errors(traffic)


def test_half_of_twenty_are_silent_at_once(hosts: Hosts) -> None:
    """It may be we who are cut off: they are suspect, not lost, and back at once when the link is."""
    site = Site(hosts)
    site.things("a", 9)  # and the gateway itself is one
    site.things("b", 10)
    site.wait(19)
    everybody = set(states(site.registry))
    traffic = site.traffic()
    with traffic.flowing():
        flowed(traffic)
        cut = hosts.cut("b")
        wait_until(lambda: site.gateway.logged("registry.self_preservation"), 6)
        # longer than it takes to lose one that is silent alone
        wait_until(lambda: time.time() - cut > (30 if IS_LONG else 11), 40)
        found = states(site.registry)
        assert set(found) == everybody
        assert sorted(found.values()) == ["ready"] * 9 + ["suspect"] * 10
        flowed(traffic)
        hosts.mend("b")
        wait_until_ready(site.registry, 19)
    no_errors(traffic)
    assert set(states(site.registry)) == everybody


def test_a_link_that_flaps_every_second(hosts: Hosts) -> None:
    """Readers see no error, and when it has calmed down everybody is there."""
    site = Site(hosts)
    site.things("steady")
    site.things("flaps")
    site.wait(2)
    ids = set(states(site.registry))
    traffic = site.traffic()
    with traffic.flowing():
        for _ in range(30 if IS_LONG else 3):
            hosts.cut("flaps")
            time.sleep(1)
            hosts.mend("flaps")
            time.sleep(1)
        wait_until_ready(site.registry, 2)
    no_errors(traffic)
    assert set(states(site.registry)) == ids
