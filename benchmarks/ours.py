"""Our programs under measurement: a whole blog, or a bus with a registry; and a raw client for both."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import load, programs

TOKEN = "token-of-a-benchmark"  # noqa: S105 - of a blog that lives as long as a measurement
EVERY_CORE = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
STARTED_WITHIN = 60.0


class Client:
    """One keep-alive connection; requests with few headers, so that its own cost is small."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = load.dial(port)
        self._asked: str | None = None

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> load.Answer:
        """Send a request, with `content` as JSON; return the answer, whatever its status."""
        self.send(method, path, content, **headers)
        return self._answer()

    def send(self, method: str, path: str, content: Any = None, **headers: str) -> None:
        """Send a request; its answer is for `finish`."""
        body = b"" if content is None else json.dumps(content).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        fields = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"Content-Length": str(len(body))} if content is not None else {}
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        self._asked = f"{method} {path}"

    def finish(self) -> None:
        """Read the answer to what was sent, if there is one to come; anything but 2xx ends the run."""
        if self._asked is not None and (answer := self._answer()).status >= 300:
            raise SystemExit(f"{answer}")

    def _answer(self) -> load.Answer:
        assert self._asked is not None
        asked, self._asked = self._asked, None
        return load.read_any(self._connection, asked)

    def get(self, path: str, **headers: str) -> Any:
        """Read JSON; anything but 200 ends the run."""
        return self._must("GET", path, None, 200, headers)

    def post(self, path: str, content: Any, status: int = 201, **headers: str) -> Any:
        """Write JSON; anything but `status` ends the run."""
        return self._must("POST", path, content, status, headers)

    def _must(self, method: str, path: str, content: Any, status: int, headers: dict[str, str]) -> Any:
        answer = self.ask(method, path, content, **headers)
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return json.loads(answer.body) if answer.body else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def client(port: int) -> Iterator[Client]:
    """Give a connection."""
    made = Client(port)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def several(port: int, count: int) -> Iterator[list[Client]]:
    """Give connections; every answer is read before they are closed."""
    with ExitStack() as stack:
        clients = [stack.enter_context(client(port)) for _ in range(count)]
        yield clients
        for each in clients:
            each.finish()


@contextmanager
def place() -> Iterator[programs.Place]:
    """Give a folder and a free port."""
    with tempfile.TemporaryDirectory(prefix="bench-bus-", ignore_cleanup_errors=True) as folder:
        yield programs.Place(Path(folder), programs.free_port(), ())


def plan(name: str, at: programs.Place, registry: int, *words: str, **variables: str) -> programs.Plan:
    """Be `blog NAME` at the port of `at`, with the registry at the port `registry`."""
    environ = {
        "BLOG_PORT": str(at.port), "BLOG_PUBLIC_PORT": str(at.port), "BLOG_ADMIN_PORT": str(registry),
        "BLOG_TOKEN": TOKEN, "BLOG_DATA_DIR": str(at.folder / "data"), "BLOG_LOG_FORMAT": "json",
        "BLOG_REGISTRY": f"http://127.0.0.1:{registry}", "BLOG_WRITE_RATE": "0", **variables,
    }  # fmt: skip
    return programs.Plan(sys.executable, ["-m", "blog", name, *words], "", environ=environ)


@contextmanager
def whole_blog() -> Iterator[tuple[programs.Running, Client]]:
    """Run `blog up` in a new folder until it does all that it should; give a client too."""
    with place() as at, blog_up(at, settles) as running:
        yield running


@contextmanager
def blog_up(
    at: programs.Place, does: Callable[[Client], bool]
) -> Iterator[tuple[programs.Running, Client]]:
    """Run `blog up` in the folder of `at`, on every core; begin once it `does` what is asked."""
    made = plan("up", at, programs.free_port())
    running = programs.running("blog up", made, at, EVERY_CORE)
    with running as up, client(up.port) as asking:
        programs.until(lambda: does(asking), STARTED_WITHIN, f"the blog does not do it: {does.__name__}")
        yield up, asking


def answers(asking: Client) -> bool:
    """Return whether posts can be read and written."""
    if asking.ask("GET", "/posts").status != 200:
        return False
    return asking.ask("POST", "/posts", {"title": "Warm-up"}).status == 201


def settles(asking: Client) -> bool:
    """Return whether a post can be written, commented on, and read with its approved comment."""
    wrote = asking.ask("POST", "/posts", {"title": "Warm-up"})
    if wrote.status != 201:
        return False
    path = f"/posts/{json.loads(wrote.body)['id']}"
    if asking.ask("POST", f"{path}/comments", {"content": "warm-up"}).status != 201:
        return False
    programs.until(
        lambda: b'"approved"' in asking.ask("GET", path).body, STARTED_WITHIN, "no comment is settled"
    )
    return True


class Stage:
    """A registry, and what announces itself there, each in a folder of its own; ends with the stack."""

    def __init__(self, stack: ExitStack, core: int | str = EVERY_CORE) -> None:
        self._stack = stack
        self._port = programs.free_port()
        self.run("registry", core, port=self._port)
        self.registry = stack.enter_context(client(self._port))

    def run(
        self,
        name: str,
        core: int | str = EVERY_CORE,
        *,
        module: str | None = None,
        data: Path | None = None,
        port: int = 0,
        **variables: str,
    ) -> programs.Running:
        """Start `blog NAME`, or a `module` that runs like it; return once its port is open."""
        at = self._stack.enter_context(place())
        at = at._replace(port=port or at.port)
        if data is not None:
            variables["BLOG_DATA_DIR"] = str(data)
        made = plan(name, at, self._port, **variables)
        if module is not None:
            made.arguments = ["-m", module]
            made.environ["PYTHONPATH"] = str(programs.ROOT)
        return self._stack.enter_context(programs.running(name, made, at, core))

    def client_of(self, running: programs.Running) -> Client:
        """Give a connection to a program."""
        return self._stack.enter_context(client(running.port))

    def ready(self, service: str) -> int:
        """Count the ready instances of a service."""
        answer = self.registry.ask("GET", f"/v1/services/{service}")
        rows = json.loads(answer.body) if answer.status == 200 else []
        return sum(row["state"] == "ready" for row in rows)

    def wait_until_ready(self, service: str, count: int = 1, seconds: float = STARTED_WITHIN) -> None:
        """Return when so many instances are ready."""
        programs.until(lambda: self.ready(service) >= count, seconds, f"{service} is not ready")


@contextmanager
def stage(core: int | str = EVERY_CORE) -> Iterator[Stage]:
    """Give a stage with a registry."""
    with ExitStack() as stack:
        yield Stage(stack, core)
