"""What clients that never ask twice see when instances die, stop, drain or are replaced: nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Blog, free_port, wait_until

IS_LONG = "BLOG_CHAOS_ROUNDS" in os.environ
CONNECTIONS = 64
AT_LEAST = 100_000 if IS_LONG else 3_000
SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "query": 3}


class Load:
    """Asks over keep-alive connections, one request after the other on each, from its own thread.

    `request(n)` makes the bytes of the nth request. Whatever is no whole answer is an error, and what
    is asked again afterwards is another request.
    """

    def __init__(self, url: str, request: Callable[[int], bytes], connections: int = CONNECTIONS) -> None:
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0
        self._port = int(url.rpartition(":")[2])
        self._request = request
        self._connections = connections
        self._sent = 0
        self._stop = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator["Load"]:
        """Ask while the body runs."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def more(self, count: int) -> None:
        """Wait until so many more have been answered."""
        goal = self.statuses.total() + count
        wait_until(lambda: self.statuses.total() >= goal, 120)

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask_on() for _ in range(self._connections)))

    async def _ask_on(self) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.errors[f"connect: {error!r}"] += 1
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._stop.is_set():
                    await self._ask(reader, writer)
            except (OSError, EOFError) as error:
                self.errors[type(error).__name__] += 1
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        self._sent += 1
        writer.write(self._request(self._sent))
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.statuses[int(head.split()[1])] += 1


def get_posts(_: int) -> bytes:
    """Read the posts."""
    return b"GET /posts HTTP/1.1\r\nHost: blog\r\n\r\n"


def write_post(number: int) -> bytes:
    """Write a post with a title that no other has."""
    body = b'{"title": "post %d"}' % number
    head = b"POST /posts HTTP/1.1\r\nHost: blog\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def lost(blog: Blog, row: dict[str, str]) -> None:
    """Wait until an instance is not listed any more."""
    wait_until(lambda: row["id"] not in {one["id"] for one in blog.table(row["service"])}, 30)


def test_readers_see_no_error_whatever_becomes_of_instances(up: Callable[..., Blog]) -> None:
    """Kill -9 of one of three, SIGSTOP of one, SIGTERM of one, then all replaced one by one."""
    blog = up("--scale", "query=3")
    blog.wait_until_ready(**SERVICES)
    load = Load(blog.url, get_posts)
    with load.flowing():
        load.more(500)
        killed, stopped, drained = blog.ready("query")
        os.kill(blog.pid(killed), signal.SIGKILL)
        lost(blog, killed)
        wait_until(lambda: len(blog.ready("query")) == 3, 30)
        os.kill(blog.pid(stopped), signal.SIGSTOP)
        wait_until(lambda: [one for one in blog.table("query") if one["state"] == "suspect"], 10)
        load.more(200)
        os.kill(blog.pid(stopped), signal.SIGCONT)
        wait_until(lambda: len(blog.ready("query")) == 3, 30)
        os.kill(blog.pid(drained), signal.SIGTERM)
        lost(blog, drained)
        wait_until(lambda: len(blog.ready("query")) == 3, 30)
        for old in blog.ready("query"):
            os.kill(blog.pid(old), signal.SIGTERM)
            lost(blog, old)
            wait_until(lambda: len(blog.ready("query")) == 3, 30)
        load.more(max(500, AT_LEAST - load.statuses.total()))
    assert not load.errors
    assert load.statuses.keys() == {200}
    print(f"{load.statuses.total()} answers, all 200; the slowest after {load.slowest:.2f} s")


def test_without_retries_readers_do_see_errors(up: Callable[..., Blog]) -> None:
    """The same kill with BLOG_RETRY=false: else the test above would prove nothing."""
    blog = up("--scale", "query=3", BLOG_RETRY="false")
    blog.wait_until_ready(**SERVICES)
    load = Load(blog.url, get_posts)
    with load.flowing():
        for _ in range(3):
            load.more(300)
            victim = blog.ready("query")[0]
            os.kill(blog.pid(victim), signal.SIGKILL)
            lost(blog, victim)
            if load.errors or load.statuses.keys() != {200}:
                break
            wait_until(lambda: len(blog.ready("query")) == 3, 30)
    assert load.errors or load.statuses.keys() != {200}
    print(f"without retries: {dict(load.statuses)}, {dict(load.errors)}")


def test_what_is_written_without_a_key_is_never_sent_twice(up: Callable[..., Blog]) -> None:
    """Kill -9 of one of three while posts are written: each title is in the log at most once."""
    blog = up("--scale", "posts=3")
    blog.wait_until_ready(**SERVICES | {"posts": 3, "query": 1})
    load = Load(blog.url, write_post, 16)
    with load.flowing():
        for _ in range(3 if IS_LONG else 1):
            load.more(200)
            victim = blog.ready("posts")[0]
            os.kill(blog.pid(victim), signal.SIGKILL)
            lost(blog, victim)
            wait_until(lambda: len(blog.ready("posts")) == 3, 30)
        load.more(200)
    assert not load.errors
    assert load.statuses.keys() <= {201, 502}
    titles = written_titles(blog)
    assert max(titles.values()) == 1
    assert len(titles) >= load.statuses[201]
    print(f"{dict(load.statuses)}, {len(titles)} titles, none twice")


def written_titles(blog: Blog) -> Counter[str]:
    """Count the posts in the log by title."""
    token = (blog.folder / "data" / "run" / "token").read_text().strip()
    [bus] = blog.ready("bus")
    titles: Counter[str] = Counter()
    after = 0
    while True:
        events = requests.get(
            f"http://{bus['address']}/events",
            params={"after": str(after), "limit": "1000", "type": "blog.PostCreated"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        ).json()
        if not events:
            return titles
        titles.update(event["data"]["title"] for event in events)
        after = int(events[-1]["sequence"])


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream query {{ {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://query; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout; proxy_connect_timeout 1s; proxy_read_timeout 5s;
    }}
  }}
}}
"""


@pytest.mark.skipif(not (IS_LONG and shutil.which("nginx")), reason="a comparison, in make chaos")
def test_nginx_for_comparison(up: Callable[..., Blog], tmp_path: Path) -> None:
    """The same kill and stop, with a list of instances and proxy_next_upstream: its figures are shown."""
    blog = up("--scale", "query=3")
    blog.wait_until_ready(**SERVICES)
    servers = " ".join(f"server {one['address']};" for one in blog.ready("query"))
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, servers=servers, port=port))
    nginx = subprocess.Popen(["nginx", "-c", str(tmp_path / "nginx.conf")])
    try:
        wait_until(lambda: is_open(port))
        load = Load(f"http://127.0.0.1:{port}", get_posts)
        with load.flowing():
            load.more(500)
            killed, stopped, _ = blog.ready("query")
            os.kill(blog.pid(killed), signal.SIGKILL)
            lost(blog, killed)
            os.kill(blog.pid(stopped), signal.SIGSTOP)
            wait_until(lambda: [one for one in blog.table("query") if one["state"] == "suspect"], 10)
            load.more(200)
            os.kill(blog.pid(stopped), signal.SIGCONT)
            load.more(10_000)
        print(f"nginx: {dict(load.statuses)}, {dict(load.errors)}, slowest {load.slowest:.2f} s")
    finally:
        nginx.terminate()
        nginx.wait(10)


def is_open(port: int) -> bool:
    """Return whether somebody listens at `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
