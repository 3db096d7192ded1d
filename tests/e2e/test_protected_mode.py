"""A blog without a token, on a real network: who is near works with it, strangers and pages do not."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e import hosts as places
from tests.e2e.conftest import wait_until
from tests.e2e.hosts import Hosts, Process, ip

GATEWAY, BUS, POSTS = "10.77.0.2", "10.77.0.3", "10.77.0.4"
ADMIN, LOG, POSTS_URL = f"http://{GATEWAY}:4000", f"http://{BUS}:8000", f"http://{POSTS}:8000"
PUBLIC = f"http://{GATEWAY}:8080"
EVENT = {"specversion": "1.0", "source": "/x", "type": "blog.Fake", "subject": "k"}
PAGE = {"Origin": "http://evil.example"}
# what destroys or decides, wherever it is asked
DECIDING = [
    ("DELETE", f"{ADMIN}/v1/services/posts/instances/x?force=true"),
    ("POST", f"{LOG}/dead-letters/comments-1/discard"),
    ("POST", f"{LOG}/dead-letters/comments-1/redrive"),
    ("POST", f"{LOG}/subscriptions/comments/pause"),
    ("POST", f"{LOG}/subscriptions/comments/replay?after=0"),
    ("POST", f"{POSTS_URL}/v1/operator/delete"),
    ("GET", f"{POSTS_URL}/v1/operator"),
    ("PUT", f"{ADMIN}/v1/log"),
]
INNER = [
    ("GET", f"{ADMIN}/v1/services"),
    ("GET", f"{ADMIN}/v1/session"),
    ("GET", f"{ADMIN}/v1/routes"),
    ("GET", f"{ADMIN}/v1/stats"),
    ("GET", f"{ADMIN}/v1/nowhere"),
    ("GET", f"{ADMIN}/metrics"),
    ("PUT", f"{ADMIN}/v1/services/posts/instances/x"),
    ("DELETE", f"{ADMIN}/v1/services/posts/instances/x"),
    ("GET", f"{LOG}/events"),
    ("GET", f"{LOG}/events/head"),
    ("GET", f"{LOG}/subscriptions"),
    ("GET", f"{LOG}/dead-letters"),
    ("POST", f"{LOG}/events"),
    ("GET", f"{LOG}/metrics"),
    ("POST", f"{POSTS_URL}/posts"),
    ("GET", f"{POSTS_URL}/snapshot"),
    ("POST", f"{POSTS_URL}/reactions"),
    ("GET", f"{POSTS_URL}/metrics"),
    ("GET", f"{POSTS_URL}/openapi.json"),
]


class Site:
    """A blog whose processes are on hosts of their own, without a token, and two visitors."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        for name in ("gateway", "bus", "posts", "neighbour", "stranger"):
            hosts.add(name)
        # the stranger is elsewhere: everybody has a route to it, and nobody is on its network
        stranger = hosts.namespace("stranger")
        ip("-n", stranger, "addr", "flush", "dev", "eth0", "scope", "global")
        ip("-n", stranger, "addr", "add", "10.99.0.5/32", "dev", "eth0")
        ip("-n", stranger, "route", "add", "10.77.0.0/24", "dev", "eth0")
        for name in ("gateway", "bus", "posts", "neighbour"):
            ip("-n", hosts.namespace(name), "route", "add", "10.99.0.0/24", "dev", "eth0")
        self.processes = {name: self.start(name) for name in ("gateway", "bus", "posts")}

    def start(self, name: str) -> Process:
        """Run a service on its host."""
        return self.hosts.run(name, name, BLOG_REGISTRY=ADMIN, BLOG_PORT="8000")

    def ask(self, host: str, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request from a host."""
        with self.hosts.inside(host):
            return requests.request(method, url, timeout=20, **options)

    def status(self, host: str, method: str, url: str, **options: Any) -> int:
        """Send a request from a host; return the status."""
        return self.ask(host, method, url, **options).status_code

    def is_up(self) -> bool:
        """Return whether it takes posts."""
        try:
            return self.status("stranger", "POST", f"{PUBLIC}/posts", json={"title": "Hello"}) == 201
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run the blog until a stranger's post is taken at the public port."""
    places.require()
    hosts = Hosts(tmp_path_factory.mktemp("site"), token=None)
    try:
        made = Site(hosts)
        wait_until(made.is_up, 60)
        wait_until(lambda: made.status("gateway", "GET", f"{ADMIN}/readyz") == 200, 60)
        yield made
    finally:
        hosts.close()


def test_services_of_one_private_network_work_together(site: Site) -> None:
    """A stranger reads what was written, at the public port; a page there may write."""
    headers = {"Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"}
    assert site.status("stranger", "POST", f"{PUBLIC}/posts", json={"title": "A"}, headers=headers) == 201
    events = site.ask("neighbour", "GET", f"{LOG}/events").json()
    assert {event["type"] for event in events} == {"blog.PostCreated"}


@pytest.mark.parametrize(("method", "url"), [*INNER, *DECIDING])
def test_a_stranger_gets_nothing(site: Site, method: str, url: str) -> None:
    """At no port but the public one; a made-up token or instance does not help, nor a page's headers."""
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Blog-Instance": "posts-1"},
        PAGE,
        {"X-Forwarded-For": "127.0.0.1"},
    ):
        response = site.ask("stranger", method, url, headers=headers)
        assert response.status_code == 403
        assert "BLOG_TOKEN" in response.text or headers == PAGE or "proxy" in response.text


def test_a_stranger_writes_no_event(site: Site) -> None:
    """On a fresh connection, and on one that was handed over to the slower path."""
    body = EVENT | {"id": "e-1", "data": {}}
    headers = {"Content-Type": "application/cloudevents+json"}
    with site.hosts.inside("stranger"), requests.Session() as http:
        for _ in range(2):
            assert http.post(f"{LOG}/events", json=body, headers=headers, timeout=20).status_code == 403
            assert http.get(f"{LOG}/readyz", timeout=20).status_code == 200
    assert site.status("neighbour", "GET", f"{LOG}/events/e-1") == 404


@pytest.mark.parametrize(("method", "url"), [*INNER, *DECIDING])
@pytest.mark.parametrize("headers", [PAGE, {"Sec-Fetch-Site": "none"}, {"Origin": "null"}])
@pytest.mark.parametrize("host", ["neighbour", "gateway"])
def test_a_web_page_gets_nothing(
    site: Site, host: str, method: str, url: str, headers: dict[str, str]
) -> None:
    """In a browser of somebody in the network, or on the machine itself."""
    response = site.ask(host, method, url, headers=headers)
    assert response.status_code == 403
    assert "web pages" in response.text


def test_a_web_page_opens_no_session(site: Site) -> None:
    """WebSockets know no same-origin rule: a page could join as an instance of the front page."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert site.status("neighbour", "GET", f"{ADMIN}/v1/session", headers=upgrade | PAGE) == 403
    lines = site.processes["gateway"].logged("request.refused")
    assert {line["route"] for line in lines if line["peer"] == "10.77.0.5"} >= {"/v1/session"}


@pytest.mark.parametrize(("method", "url"), DECIDING)
def test_a_neighbour_decides_nothing(site: Site, method: str, url: str) -> None:
    """And is told what to do: set a token, or run the command there."""
    response = site.ask("neighbour", method, url)
    assert response.status_code == 403
    assert "BLOG_TOKEN" in response.json()["detail"]
    assert "docker exec" in response.json()["detail"]


@pytest.mark.parametrize(("method", "url"), DECIDING)
def test_on_the_machine_itself_an_operator_decides(site: Site, method: str, url: str) -> None:
    """As `docker exec` is; what is asked for does not exist here, or does."""
    host = {GATEWAY: "gateway", BUS: "bus", POSTS: "posts"}[url.split("/")[2].split(":", maxsplit=1)[0]]
    local = url.replace("10.77.0.2", "127.0.0.1").replace("10.77.0.3", "127.0.0.1")
    local = local.replace("10.77.0.4", "127.0.0.1")
    assert site.status(host, method, local) in (200, 204, 404, 415, 422)


def test_probes_are_for_everybody_but_pages(site: Site) -> None:
    """Load balancers and orchestrators are elsewhere, and have no token."""
    for url in (ADMIN, LOG, POSTS_URL):
        for path in ("/healthz", "/readyz"):
            assert site.status("stranger", "GET", url + path) == 200
            assert site.status("stranger", "GET", url + path, headers=PAGE) == 403
