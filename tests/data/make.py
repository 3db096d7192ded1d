"""Makes what `tests/data/VERSION/` holds: what a blog of that version leaves in its data directory.

    python tests/data/make.py 0.1.0 e356a0a2f38fad688e2fad13e01a95a75cf8c65b

It runs that commit as its users would, by its command line and over HTTP, and knows nothing else of it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

TOKEN = "a-made-up-token"
AUTHOR = {"Blog-Author-Token": "a made-up secret"}
KEY = "a-made-up-key"
HOST = "a-made-up-host"
"""In the place of this machine's name."""

PEDANT = '''
"""Pedant: looks at every comment, and cannot bear some of them."""

from blog.core.contract import Service
from blog.core.errors import Invalid
from blog.services.comments.events import CommentCreated

service = Service("pedant")


@service.reaction
def look(comment: CommentCreated) -> None:
    """Look at a comment."""
    if "unbearable" in comment.content:
        raise Invalid("that is unbearable")
'''
"""A service of somebody else's, for a dead letter, and what is parked after it."""

BESIDE = "import blog.services\nblog.services.__path__.append({root!r})\n"


def until(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Return what `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {condition}")
        time.sleep(0.05)
    return found


def free_ports() -> tuple[str, str]:
    """Find two ports that nobody uses."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1]), str(other.getsockname()[1])


class Old:
    """A blog of the version in `checkout`, in `folder`."""

    def __init__(self, folder: Path, checkout: Path, beside: Path) -> None:
        self.folder = folder
        public, admin = free_ports()
        self.url, self.admin = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
        self._environ = clean | {
            "PYTHONPATH": f"{beside}:{checkout}",
            "BLOG_PUBLIC_PORT": public,
            "BLOG_ADMIN_PORT": admin,
            "BLOG_DATA_DIR": "data",
            "BLOG_TOKEN": TOKEN,
        }

    def cli(self, *words: str) -> str:
        """Run a command; return what it printed."""
        command = [sys.executable, "-m", "blog", *words]
        done = subprocess.run(
            command, env=self._environ, cwd=self.folder, check=True, capture_output=True
        )
        return done.stdout.decode()

    def rows(self) -> list[dict[str, Any]]:
        """List who runs."""
        found: list[dict[str, Any]] = json.loads(self.cli("ps", "--json"))
        return found

    def has(self, service: str, count: int) -> bool:
        """Return whether exactly so many are ready."""
        return [row["state"] for row in self.rows() if row["service"] == service] == ["ready"] * count

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Ask as a client; anything but success ends this."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer

    def bus(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask the bus."""
        [row] = [row for row in self.rows() if row["service"] == "bus"]
        headers = {"Authorization": f"Bearer {TOKEN}", "Blog-Instance": row["id"]}
        url = f"http://{row['address']}{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer

    def events(self) -> list[dict[str, Any]]:
        """Read the log."""
        return [json.loads(line) for line in self.cli("events").splitlines()]

    def is_settled(self) -> bool:
        """Return whether every comment and every edit of one has been moderated, and that is shown."""
        types = [event["type"].removeprefix("blog.") for event in self.events()]
        written = types.count("CommentCreated") + types.count("CommentEdited")
        by_operator = sum(
            "by" in e["data"] for e in self.events() if e["type"] == "blog.CommentModerated"
        )
        done = types.count("CommentModerated") - by_operator
        return done == written and not any(row["behind"] for row in self.rows())


def write(blog: Old) -> dict[str, Any]:
    """Have every type of event in the log, by everybody who can cause it; return what a test asks for."""
    first = {"title": "First", "body": "Some *words*.", "author": "Ada"}
    kept = blog.ask("POST", "/posts", first, Idempotency_Key=KEY).json()
    again = blog.ask("POST", "/posts", first, Idempotency_Key=KEY).json()
    assert again["id"] == kept["id"], "a duplicate"
    mine = blog.ask("POST", "/posts", {"title": "Mine"}, **AUTHOR).json()["id"]
    gone, taken_down = (
        blog.ask("POST", "/posts", {"title": title}, **AUTHOR).json()["id"]
        for title in ("Taken back", "Spam")
    )
    thread = f"/posts/{kept['id']}/comments"
    ids = {
        content: blog.ask("POST", thread, {"content": content}, **AUTHOR).json()["id"]
        for content in ("I like it", "an orange", "to be edited", "to be taken back", "to be judged")
    }
    until(blog.is_settled)
    blog.ask("PUT", f"/posts/{mine}", {"title": "Still mine", "body": "edited"}, **AUTHOR)
    blog.ask("DELETE", f"/posts/{gone}", **AUTHOR)
    blog.ask("PUT", f"{thread}/{ids['to be edited']}", {"content": "edited"}, **AUTHOR)
    blog.ask("DELETE", f"{thread}/{ids['to be taken back']}", **AUTHOR)
    blog.cli("posts", "delete", taken_down, "--yes", "--reason", "spam")
    blog.cli("comments", "reject", ids["to be judged"], "--yes", "--reason", "rude")
    for content in ("unbearable", "waits behind it"):
        blog.ask("POST", f"/posts/{mine}/comments", {"content": content})
    until(blog.is_settled)
    until(lambda: json.loads(blog.cli("dead-letters", "list", "--json")))
    blog.bus("POST", "/subscriptions/pedant/pause")
    foreign = {
        "specversion": "1.0", "id": "a-foreign-event", "source": "/elsewhere",
        "type": "elsewhere.Happened", "subject": "x", "time": "2026-01-01T00:00:00Z",
        "data": {"text": "twice, kept once"},
    }  # fmt: skip
    sequences = [blog.bus("POST", "/events", foreign).json()["results"][0]["sequence"] for _ in range(2)]
    assert sequences[0] == sequences[1], "a duplicate"
    until(blog.is_settled)
    return {"mine": mine, "deleted": [gone, taken_down], "repeated": {"id": kept["id"], "body": first}}


def seen(blog: Old) -> dict[str, Any]:
    """Return what readers and operators see."""
    events = blog.events()
    posts: dict[str, Any] = blog.ask("GET", "/posts").json()
    return {
        "posts": {id_: blog.ask("GET", f"/posts/{id_}").json() for id_ in posts},
        "comments": {id_: blog.ask("GET", f"/posts/{id_}/comments").json() for id_ in posts},
        "head": events[-1]["sequence"],
        "types": sorted({event["type"] for event in events}),
        "dead_letters": json.loads(blog.cli("dead-letters", "list", "--json")),
        "subscriptions": blog.bus("GET", "/subscriptions").json(),
        "wanted": {row["service"]: row["wanted"] for row in blog.rows() if row["service"] != "comments"},
        "schedule": json.loads(blog.cli("schedule", "--json", "-n", "1")),
    }


@contextmanager
def running(blog: Old) -> Iterator[None]:
    """Run it while the body does, unless that ends it."""
    blog.cli("up", "-d")
    until(lambda: all(blog.has(name, 2) for name in ("query", "moderation")))
    try:
        yield
    except BaseException:
        blog.cli("down")
        raise


def stopped(blog: Old) -> dict[str, Any]:
    """Run it for the first time, and stop it in order."""
    with running(blog):
        found = write(blog)
        found |= seen(blog)
        blog.cli("down")
    return found


def killed(blog: Old) -> dict[str, Any]:
    """Run it once more, scale it by hand, and kill everything at once, as a power cut does."""
    with running(blog):
        blog.cli("scale", "comments=3", "--wait")
        [mine] = [
            id_ for id_, post in blog.ask("GET", "/posts").json().items() if "mine" in post["title"]
        ]
        blog.ask("POST", f"/posts/{mine}/comments", {"content": "before the end"})
        blog.ask("POST", "/posts", {"title": "Last"})
        until(blog.is_settled)
        found = seen(blog)
        master = next(pid for pid in pids("up") if in_folder(pid, blog.folder))
        for pid in [master, *(row["pid"] for row in blog.rows())]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(in_folder(pid, blog.folder) for pid in pids("")))
    return found


def pids(word: str) -> Iterator[int]:
    """List the processes of `python -m blog` with this word (any: "")."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[1:3] == ["-m", "blog"] and word in (*words, ""):
            yield int(path.parent.name)


def in_folder(pid: int, folder: Path) -> bool:
    """Return whether a process runs in this folder."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


def packed(data: Path, target: Path, names: tuple[str, ...]) -> None:
    """Pack a data directory; nothing in it may name the machine or the folder it was made on."""
    for path in (path for path in data.rglob("*") if path.is_file()):
        if path.parent.name == "instances":
            path.write_text(path.read_text().replace(socket.gethostname(), HOST))
        for name in names:
            if name.encode() in path.read_bytes():
                raise SystemExit(f"{path} names {name}")

    def nobody(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        # what SQLite makes anew; a socket is left out by tarfile itself
        return None if info.name.endswith("-shm") else info

    with tarfile.open(target, "w:xz") as tar:
        tar.add(data, "data", filter=nobody)


def main() -> None:
    """Make both directories and what is in them."""
    version, commit = sys.argv[1:]
    target = Path(__file__).parent / version
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory(prefix="blog-") as name:
        folder, checkout, beside = (
            Path(name).resolve() / part for part in ("home", "checkout", "beside")
        )
        for each in (folder, checkout, beside / "services" / "pedant"):
            each.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=root, check=True, capture_output=True)
        subprocess.run(["tar", "x"], cwd=checkout, check=True, input=archive.stdout)
        (beside / "sitecustomize.py").write_text(BESIDE.format(root=str(beside / "services")))
        (beside / "services" / "pedant" / "service.py").write_text(PEDANT)
        (folder / "blog.toml").write_bytes((target / "blog.toml").read_bytes())
        blog = Old(folder, checkout, beside)
        names = (str(root), sys.prefix, f'"{socket.gethostname()}"')
        found = {}
        for kind in (stopped, killed):
            found[kind.__name__] = kind(blog)
            packed(folder / "data", target / f"{kind.__name__}.tar.xz", names)
        (target / "seen.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
