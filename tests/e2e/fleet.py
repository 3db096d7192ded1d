"""A fleet of instances without a master: each process from a checkout of its own, old or new.

Whatever is started here ends here, by its process.
"""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests

from tests.e2e.conftest import free_ports, wait_until
from tests.e2e.threads import running

ROOT = Path(__file__).parents[2]
TOKEN = "token-of-a-fleet"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE = 20


class Replica:
    """One process; `data` is its data directory."""

    def __init__(self, service: str, popen: "subprocess.Popen[bytes]", output: Path, data: Path) -> None:
        self.service = service
        self.popen = popen
        self.data = data
        self._output = output

    def said(self) -> str:
        """Return all that it said."""
        return self._output.read_text()

    def end(self) -> int:
        """Stop it in order; return its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE)

    def kill(self) -> None:
        """Kill it."""
        self.popen.kill()
        self.popen.wait(PATIENCE)


class Fleet:
    """Instances in `folder`, around one gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        public, admin = free_ports(2)
        self.url, self.admin = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        self._ports = {"BLOG_PUBLIC_PORT": str(public), "BLOG_ADMIN_PORT": str(admin)}
        self._started: list[Replica] = []

    def start(
        self,
        service: str,
        checkout: Path,
        *,
        data: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> Replica:
        """Start one more instance of a service, with the code of its own, and its own data or `data`."""
        place = self.folder / f"{service}-{len(self._started)}"
        place.mkdir()
        data = data or place / "data"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
        settings = {
            **self._ports,
            "BLOG_REGISTRY": self.admin,
            "BLOG_TOKEN": TOKEN,
            "BLOG_DATA_DIR": str(data),
            "BLOG_WRITE_RATE": "0",
            "BLOG_LOG_FORMAT": "json",
            "PYTHONPATH": str(checkout),
            **variables,
        }
        output = place / "output.txt"
        with output.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", "blog", service],
                env=clean | settings,
                cwd=place,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._started.append(Replica(service, popen, output, data))
        return self._started[-1]

    def start_ready(self, service: str, checkout: Path) -> Replica:
        """Start one more; return once it is ready, and the gateway may send it requests."""
        replica = self.start(service, checkout)
        self.wait(replica)
        return replica

    def wait(self, *replicas: Replica) -> None:
        """Wait until these are ready."""

        def are_ready() -> bool:
            assert all(replica.popen.poll() is None for replica in replicas), [
                replica.said() for replica in replicas
            ]
            ready = {row["metadata"].get("pid") for row in self.rows() if row["state"] == "ready"}
            return {str(replica.popen.pid) for replica in replicas} <= ready

        wait_until(are_ready, 40)

    def kill_one(self, traffic: "Traffic", replicas: list[Replica], checkout: Path) -> None:
        """Kill one of two; another one takes its place."""
        victim = replicas.pop(0)
        victim.kill()
        self.wait_until_gone(victim)
        traffic.go_on()
        replicas.append(self.start_ready(victim.service, checkout))
        traffic.go_on()

    def replace(self, traffic: "Traffic", replicas: list[Replica], checkout: Path) -> None:
        """Start one of the other version, then end one in order, as a rollout does."""
        replicas.append(self.start_ready(replicas[0].service, checkout))
        traffic.go_on()
        leaving = replicas.pop(0)
        assert leaving.end() == 0
        self.wait_until_gone(leaving)
        traffic.go_on()

    def write_post(self) -> str | None:
        """Write a post; None while no instance takes it."""
        answer = requests.post(f"{self.url}/posts", json={"title": "Hello"}, timeout=PATIENCE)
        return str(answer.json()["id"]) if answer.status_code == 201 else None

    def readable_post(self) -> str:
        """Write a post, and wait until it can be read."""
        post = wait_until(self.write_post, PATIENCE)
        wait_until(lambda: requests.get(f"{self.url}/posts/{post}", timeout=PATIENCE).ok, PATIENCE)
        return str(post)

    def must_have_settled(self, post: str, written: list[str]) -> None:
        """Check that no comment was lost, and that each was moderated exactly once."""
        wait_until(lambda: self.statuses(post) == dict.fromkeys(written, "approved"), 30)
        moderated = self.ask_bus("GET", "/events?limit=1000&type=blog.CommentModerated").json()
        counted = Counter(event["data"]["id"] for event in moderated)
        assert counted.keys() >= set(written[:500])
        assert set(counted.values()) == {1}, "each reaction took effect once"

    def statuses(self, post: str) -> dict[str, str]:
        """Read every comment of a post, as all readers see it."""
        found: dict[str, str] = {}
        while True:
            params = {"limit": "1000", "after": next(reversed(found), "")}
            url = f"{self.url}/posts/{post}/comments"
            page = requests.get(url, params=params, timeout=PATIENCE).json()
            if not page:
                return found
            found |= {comment["id"]: comment["status"] for comment in page}

    def wait_until_gone(self, replica: Replica) -> None:
        """Wait until the registry does not list it."""
        pid = str(replica.popen.pid)
        wait_until(lambda: pid not in {row["metadata"].get("pid") for row in self.rows()}, PATIENCE)

    def rows(self, service: str | None = None) -> list[dict[str, Any]]:
        """List the instances as the registry knows them; none while it does not answer."""
        try:
            answer = requests.get(f"{self.admin}/v1/services", headers=AUTH, timeout=PATIENCE)
        except requests.ConnectionError:
            return []
        services = answer.json()["services"]
        return [row for rows in services.values() for row in rows if service in (None, row["service"])]

    def ask_bus(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the bus."""
        [row] = self.rows("bus")
        headers = AUTH | {"Blog-Instance": row["id"]} | options.pop("headers", {})
        url = f"http://{row['address']}{path}"
        answer = requests.request(method, url, headers=headers, timeout=PATIENCE, **options)
        answer.raise_for_status()
        return answer

    def close(self) -> None:
        """End all of them: the gateway last, so that the others can leave in order."""
        with ExitStack() as stack:
            for replica in self._started:
                stack.callback(replica.kill)
            for replica in reversed(self._started):
                if replica.popen.poll() is None:
                    replica.end()


class Traffic:
    """A reader and a writer of comments at the public port; keeps what was written, and errors."""

    def __init__(self, url: str, post: str) -> None:
        self.written: list[str] = []
        self.reads = 0
        self.wrong: list[str] = []
        self._url = url
        self._post = post
        self._stop = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Let it flow while the body runs."""
        with running(self._stop, *(partial(self._run, work) for work in (self._read, self._write))):
            yield self

    def go_on(self) -> None:
        """Wait until both have got on a little."""
        reads, writes = self.reads, len(self.written)
        wait_until(lambda: self.reads > reads + 12 and len(self.written) > writes + 4, PATIENCE)

    def _run(self, work: Any) -> None:
        with requests.Session() as session:
            while not self._stop.wait(0.01):
                try:
                    work(session)
                except requests.RequestException as error:
                    self.wrong.append(repr(error))

    def _read(self, session: requests.Session) -> None:
        for path in ("/posts", f"/posts/{self._post}", f"/posts/{self._post}/comments", "/"):
            self._right(session.get(self._url + path, timeout=PATIENCE), 200)
            self.reads += 1

    def _write(self, session: requests.Session) -> None:
        key = uuid.uuid4().hex  # so that it may be sent again
        url, headers = f"{self._url}/posts/{self._post}/comments", {"Idempotency-Key": key}
        answer = session.post(url, json={"content": key}, headers=headers, timeout=PATIENCE)
        if self._right(answer, 201):
            self.written.append(answer.json()["id"])

    def _right(self, answer: requests.Response, status: int) -> bool:
        if answer.status_code != status:
            self.wrong.append(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}")
        return answer.status_code == status


class _Handler(BaseHTTPRequestHandler):
    """Answers every request, as the instance that the request is meant for."""

    def do_GET(self) -> None:
        """Answer anything."""
        self.send_response(200)
        self.send_header("Blog-Instance", self.headers.get("Blog-Instance", ""))
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"thing")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the class above
        """Say nothing."""


@contextmanager
def stranger(handler: type[BaseHTTPRequestHandler] = _Handler) -> Iterator[str]:
    """Run a server that is not ours; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
