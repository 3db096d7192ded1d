"""The image, as README runs it. Built by the classic builder: buildx cannot be had everywhere."""

import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from docker.types import IPAMConfig, IPAMPool, Mount

from tests.e2e.conftest import wait_until
from tests.e2e.engine import FEWEST, IMAGE, SERVICES, TOKEN, Containers, containers

MAX_SIZE = 180_000_000
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def blog(client: Any) -> Iterator[Containers]:
    """Give README's lines with a token, running."""
    with containers(client, TOKEN) as made:
        made.start_all()
        yield made


def three_comments(blog: Containers) -> list[Any]:
    """Start copies until there are three, each getting requests."""
    post = blog.post_once()
    assert post
    copies = [blog.run("comments") for _ in range(2)]
    wait_until(lambda: len({blog.comment(post) for _ in range(6)}) >= 3, 30)
    return copies


def test_it_is_small_and_says_what_it_is(client: Any) -> None:
    """At most 180 MB, with OCI labels, and nothing runs as root."""
    image = client.images.get(IMAGE)
    assert image.attrs["Size"] <= MAX_SIZE
    assert image.labels["org.opencontainers.image.title"] == "blog"
    assert image.attrs["Config"]["User"] == "blog"
    assert image.attrs["Config"]["Cmd"] == ["up"]


def test_copies_get_their_share_with_no_edit(blog: Containers) -> None:
    """A third and a fourth copy of comments: requests go round, and so do events; one is killed."""
    copies = three_comments(blog)
    post = blog.post_once()
    assert post
    served = Counter(blog.comment(post) for _ in range(30))
    assert len(served) == 3
    assert min(served.values()) >= 8
    wait_until(lambda: blog.statuses(post) == ["approved"] * 30, 30)
    for copy in (blog.by_service["comments"], *copies):
        assert b'"path": "/reactions"' in copy.logs()
    # docker kill: nobody notices
    copies[0].kill()
    left = Counter(blog.comment(post) for _ in range(20))
    assert len(left) == 2
    wait_until(lambda: blog.statuses(post) == ["approved"] * 50, 30)
    copies[1].stop()


def test_it_listens_on_what_its_network_has(client: Any, blog: Containers) -> None:
    """IPv4, and IPv6 where the network has that: every port, from outside and from inside."""
    assert_listening(blog, has_ipv6=False)
    subnet = f"fd{uuid.uuid4().hex[:2]}:{uuid.uuid4().hex[:4]}::/64"
    pools = [IPAMPool(subnet=subnet)]
    with containers(client, enable_ipv6=True, ipam=IPAMConfig(pool_configs=pools)) as both:
        both.start_all(FEWEST)
        assert_listening(both, has_ipv6=True)


def assert_listening(blog: Containers, *, has_ipv6: bool) -> None:
    """Ask every container from inside, and two of them from outside."""
    gateway = blog.made[0]
    for container in (gateway, *blog.by_service.values()):
        words = ["blog-healthcheck", "--ready"]
        wait_until(lambda: container.exec_run(words).exit_code == 0, 30)
    for container, ports in ((gateway, (8080, 4000)), (blog.by_service["bus"], (8000,))):
        container.reload()
        assert "BLOG_HOST=::" in container.attrs["Config"]["Env"]
        [has] = container.attrs["NetworkSettings"]["Networks"].values()
        assert bool(has["GlobalIPv6Address"]) == has_ipv6
        addresses = [has["IPAddress"], *([f"[{has['GlobalIPv6Address']}]"] if has_ipv6 else ())]
        for address, port in itertools.product(addresses, ports):
            path = "posts" if port == 8080 else "readyz"
            headers = {"Authorization": f"Bearer {blog.token}"} if blog.token else {}
            answer = requests.get(f"http://{address}:{port}/{path}", headers=headers, timeout=10)
            assert answer.status_code == 200


def test_stopping_one_fails_no_request(blog: Containers) -> None:
    """`docker stop` drains: within 10 s, exit code 0, and every request is answered."""
    post = blog.post_once()
    copy = blog.run("query")
    wait_until(lambda: copy.exec_run(["blog", "healthcheck", "--ready"]).exit_code == 0, 30)
    statuses: list[int] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            statuses.append(requests.get(f"{blog.url}/posts/{post}", timeout=10).status_code)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: len(statuses) > 20)
        began = time.monotonic()
        copy.stop(timeout=30)
        took = time.monotonic() - began
        enough = len(statuses) + 20
        wait_until(lambda: len(statuses) > enough)
    finally:
        is_over.set()
        reader.join()
    assert set(statuses) == {200}
    assert took < 10
    assert copy.wait()["StatusCode"] == 0
    assert b"instance.left" in copy.logs()


@pytest.mark.parametrize("where", ["posts", "bus", "web"])
def test_an_operator_needs_only_a_container_of_the_blog(blog: Containers, where: str) -> None:
    """`docker exec`: the instance is found beside it, or by the registry; gone is gone."""
    post = blog.post_once()
    assert post
    words = ["blog", "posts", "delete", post, "--yes", "--reason", "spam"]
    done = blog.by_service[where].exec_run(words)
    assert (done.exit_code, b"done" in done.output) == (0, True), done.output
    wait_until(lambda: requests.get(f"{blog.url}/posts/{post}", timeout=10).status_code == 404)


def test_people_can_look_inside(blog: Containers) -> None:
    """`docker exec`, `docker logs`, `docker run -it blog sh`; an unknown command is exit code 2."""
    copy = blog.by_service["posts"]
    assert b"instance.ready" in copy.logs()
    assert copy.exec_run(["id", "-u"]).output == b"10001\n"
    assert copy.exec_run(["cat", "/proc/1/comm"]).output == b"tini\n"
    shell = blog.run("sh", stdin_open=True, tty=True)
    terminal: Any = shell.attach_socket(params={"stdin": 1, "stream": 1})
    terminal._sock.sendall(b"exit 7\n")
    assert shell.wait(timeout=20)["StatusCode"] == 7
    terminal._response.close()
    terminal.close()
    assert blog.run("sh", "-c", "exit 3").wait(timeout=20)["StatusCode"] == 3
    unknown = blog.run("postz")
    assert unknown.wait(timeout=20)["StatusCode"] == 2
    assert b"postz" in unknown.logs()


def test_a_read_only_root_is_enough(blog: Containers) -> None:
    """/data and /tmp are all that is written to."""
    copy = blog.run("query", read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"])  # noqa: S108
    wait_until(lambda: copy.exec_run(["blog", "healthcheck", "--ready"]).exit_code == 0, 30)


def test_without_a_registry_it_keeps_trying_and_says_so(client: Any) -> None:
    """It is alive, not ready, and tells which setting to look at; it still stops at once.

    The image's own probe asks for readiness until it was so once.
    """
    probe = client.images.get(IMAGE).attrs["Config"]["Healthcheck"]["Test"][1:]
    with containers(client) as alone:
        copy = alone.run("posts")
        wait_until(lambda: copy.logs().count(b"registry.unreachable") >= 2, 30)
        assert b"BLOG_REGISTRY" in copy.logs()
        assert copy.exec_run(["blog", "healthcheck"]).exit_code == 0
        assert copy.exec_run(["blog", "healthcheck", "--ready"]).exit_code == 1
        assert copy.exec_run(probe).exit_code == 1
        copy.stop()
        assert copy.wait()["StatusCode"] == 0


def test_another_user_may_run_it(client: Any) -> None:
    """`--user 1000`: a view can be anywhere. Only the log cannot: that is one line and exit code 2."""
    with containers(client) as alone:
        copy = alone.run("comments", user="1000", read_only=True, tmpfs={"/tmp": ""})  # noqa: S108
        wait_until(lambda: copy.exec_run(["blog-healthcheck"]).exit_code == 0, 30)
        assert copy.logs().count(b"data_dir.fallback") == 1
        whole = alone.run(user="1000")
        bus = alone.run("bus", user="1000")
        # a folder of root's, as `-v $PWD/log:/data` makes it
        mounted = alone.run("bus", mounts=[Mount("/data", None, type="tmpfs", tmpfs_mode=0o755)])
        for refused in (whole, bus, mounted):
            assert refused.wait(timeout=30)["StatusCode"] == 2
            [line] = [line for line in refused.logs().splitlines() if not line.startswith(b"{")]
            assert line.startswith(b"blog: BLOG_DATA_DIR=/data: /data")
            assert b"chown -R" in line


def test_a_health_check_costs_next_to_nothing(blog: Containers) -> None:
    """At most 0.06 s of CPU and 18 MB, of which Python alone needs the most."""
    copy = blog.by_service["query"]
    for command in ("['blog-healthcheck', '--startup']", "['blog', 'healthcheck', '--ready']"):
        code = (
            "import os, shutil\n"
            f"words = {command}\n"
            "seen = []\n"
            "for _ in range(7):\n"
            "    silent = [(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)]\n"
            "    child = os.posix_spawn(shutil.which(words[0]), words, os.environ, file_actions=silent)\n"
            "    _, status, used = os.wait4(child, 0)\n"
            "    assert status == 0\n"
            "    seen.append((used.ru_utime + used.ru_stime, used.ru_maxrss / 1000))\n"
            "print(*map(min, zip(*seen)))\n"
        )
        done: Any = copy.exec_run(["python3", "-S", "-c", code])
        assert done.exit_code == 0, done.output
        cpu, size = map(float, done.output.split())
        print(f"{command}: {cpu:.3f} s of CPU, {size:.1f} MB")
        assert cpu <= 0.06
        assert size <= 18


def test_the_image_asks_for_liveness_after_that(blog: Containers, client: Any) -> None:
    """Swarm has one probe for both: one that takes no traffic for a while still lives."""
    probe = client.images.get(IMAGE).attrs["Config"]["Healthcheck"]["Test"][1:]
    copy = blog.by_service["posts"]
    wait_until(lambda: copy.exec_run(probe).exit_code == 0, 30)
    assert copy.exec_run(["sh", "-c", "kill -STOP $(cat /proc/1/task/1/children)"]).exit_code == 0
    assert copy.exec_run(probe).exit_code == 1
    assert copy.exec_run(["sh", "-c", "kill -CONT $(cat /proc/1/task/1/children)"]).exit_code == 0
    wait_until(lambda: copy.exec_run(probe).exit_code == 0, 30)


def test_the_log_outlives_its_container(client: Any) -> None:
    """In a named volume it is there after removal; a bus with another log is refused."""
    with containers(client, TOKEN) as blog:
        log = blog.volume()
        blog.start_all(FEWEST, volumes=log)
        post = blog.post_once()
        other = blog.run("bus")
        assert other.wait(timeout=30)["StatusCode"] == 2
        assert b"registry knows" in other.logs()
        for service in ("bus", "query"):
            blog.remove(blog.by_service[service])
        again = blog.run("bus", volumes=log)
        wait_until(lambda: b"instance.ready" in again.logs(), 30)
        # a new query has nothing but what the log tells it
        blog.run("query")
        wait_until(lambda: blog.answers(f"/posts/{post}"), 30)


def test_without_an_argument_it_is_the_whole_blog(client: Any) -> None:
    """`docker run blog` is `blog up`: every service in one container, and drained when it stops."""
    with containers(client) as blog:
        whole = blog.run()
        wait_until(lambda: b"ready after" in whole.logs(), 60)
        printed: Any = whole.exec_run(["blog", "ps", "--json"]).output
        listed = json.loads(printed)
        assert {row["service"] for row in listed} == {"gateway", *SERVICES}
        # after a crash the files of the killed are no illness of the living
        whole.kill()
        whole.start()
        wait_until(lambda: whole.exec_run(["blog", "healthcheck", "--ready"]).exit_code == 0, 60)
        began = time.monotonic()
        whole.stop(timeout=30)
        assert time.monotonic() - began < 10
        assert whole.wait()["StatusCode"] == 0


def test_the_engine_finds_it_healthy_and_orphans_are_reaped(blog: Containers) -> None:
    """HEALTHCHECK is in the image; what outlives its parent does not stay as a zombie."""
    gateway = blog.made[0]
    printed: Any = gateway.exec_run(["sh", "-c", "sleep 0.1 & echo $!"]).output
    left = printed.decode().strip()
    wait_until(lambda: gateway.exec_run(["test", "-e", f"/proc/{left}"]).exit_code == 1, 10)

    def health() -> str:
        gateway.reload()
        return str(gateway.attrs["State"]["Health"]["Status"])

    wait_until(lambda: health() == "healthy", 40, step=0.5)
