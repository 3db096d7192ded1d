"""Whoever joins, writes an event or a log line says what they like: lists stay whole, terminals theirs.

What is hostile is planted in a running blog as strangers would: at the registry's API, at the bus, in a
replica's log; then every command shows it, in a pipe and at a terminal.
"""

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.e2e.conftest import Blog, running_in, wait_until
from tests.e2e.fleet import stranger

BLINK = "\x1b[31;5m"
HOSTILE = f"{BLINK}\x1b]0;t\x07\x1b[2J\x9b1m\u202eevil\u2066\u2028\u061c\x7f\r[red]x[/nope][link=file:///e]:smile:"
"""Colours, a title, an empty screen, C1, bidirectional marks, a line that is written again, markup."""
SERVICES = {"gateway": 1, "bus": 1, "posts": 1, "comments": 1, "moderation": 1, "query": 1, "web": 1}
METADATA: list[dict[str, str]] = [
    *({"pid": pid} for pid in ("n/a", "", "-1", "1e9", "9" * 5000, "²", "١٢", "1_0", " 1", HOSTILE)),
    *({"connections": text} for text in ("²", "9" * 5000, "-1", "١٢", HOSTILE)),
    {"pid": "1", "host": HOSTILE},
    {"pid": "1", "host": "elsewhere"},
    {"public": HOSTILE},
    {"turn": HOSTILE, "log": HOSTILE, HOSTILE: "x"},
]
DATA = {HOSTILE: [HOSTILE, 10**400]}
_OURS = re.compile(r"\x1b\[[0-9;]*m")


class Stranger(BaseHTTPRequestHandler):
    """Any instance: it is ready, and refuses every event with what it likes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Be ready, and say of a view that it is infinitely far."""
        self._respond(200, b"blog_view_applied inf\n")

    def do_POST(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._respond(400, HOSTILE.encode() + b"\xff")

    def _respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Blog-Instance", self.headers.get("Blog-Instance", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Planted(NamedTuple):
    """A blog with all of it."""

    blog: Blog
    headers: dict[str, str]
    joined: dict[str, dict[str, Any]]

    def join(self) -> None:
        """Join, or join again: a lease ends after a minute."""
        for id_, lease in self.joined.items():
            url = f"{self.blog.admin}/v1/services/hostile/instances/{id_}"
            response = requests.put(url, json={"ttl": 60, **lease}, headers=self.headers, timeout=10)
            assert response.status_code == 200, response.text

    def put_event(self) -> None:
        """Append an event that no stranger accepts."""
        event = {
            "specversion": "1.0", "id": HOSTILE, "source": HOSTILE, "type": f"blog.Odd{HOSTILE}",
            "subject": HOSTILE, "time": datetime.now(UTC).isoformat(), "data": DATA,
        }  # fmt: skip
        [bus] = self.blog.ready("bus")
        response = requests.post(
            f"http://{bus['address']}/events",
            data=json.dumps(event),
            headers=self.headers | {"Content-Type": "application/cloudevents+json"},
            timeout=10,
        )
        assert response.status_code == 200, response.text


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """Run a blog, and plant."""
    blog = Blog(tmp_path_factory.mktemp("up"))
    blog.wait_until_ready(**SERVICES)
    token = (blog.folder / "data" / "run" / "token").read_text().strip()
    found = Planted(blog, {"Authorization": f"Bearer {token}"}, {})
    try:
        with stranger(Stranger) as address:
            plant(found, address)
            yield found
    finally:
        blog.stop()
        blog.output.close()
    assert not running_in(blog.folder)


@pytest.fixture(scope="module")
def letter(planted: Planted) -> str:
    """Return the id of the dead letter."""
    return str(json.loads(planted.blog.cli("dead-letters", "list", "--json"))[0]["id"])


def plant(planted: Planted, address: str) -> None:
    """Do what strangers can; return when it is seen."""
    blog = planted.blog
    for number, metadata in enumerate(METADATA):
        lease = {"address": address, "metadata": metadata, "version": HOSTILE[:64]}
        planted.joined[f"odd-{number}"] = lease
    reacts = {"reactions": [f"blog.Odd{HOSTILE}"], "load": {"in_flight": 2**53 - 1}}
    planted.joined["reacts"] = {"address": address, **reacts}
    planted.join()
    planted.put_event()
    with (blog.folder / "data" / "logs" / "posts-1.log").open("ab") as log:
        log.write(HOSTILE.encode() + b"\xff\x9b2J\n" + b"x" * 100_000 + b"\n")
    (blog.folder / "blog.toml").write_text(f'[services."{escape_toml(HOSTILE)}"]\nreplicas = 1\n')
    wait_until(lambda: "hostile-" in blog.cli("dead-letters", "list"), 30)
    wait_until(lambda: "not applied" in blog.cli("ps"), 30)


def escape_toml(text: str) -> str:
    """Quote for TOML."""
    return "".join(f"\\u{ord(one):04x}" if one in '"\\' or not one.isprintable() else one for one in text)


def in_pipe(blog: Blog, words: tuple[str, ...], **variables: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "blog", *words],
        env=blog.environ | {"COLUMNS": "250"} | variables,
        cwd=blog.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def at_terminal(blog: Blog, words: tuple[str, ...], **variables: str) -> tuple[int, str]:
    """Do the same at a terminal."""
    mine, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "blog", *words],
        env=blog.environ | {"COLUMNS": "250"} | variables,
        cwd=blog.folder,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as process:
        os.close(its)
        shown = bytearray()
        try:
            while piece := os.read(mine, 1 << 16):
                shown += piece
        except OSError:  # EIO: it has ended
            pass
        os.close(mine)
        return process.wait(60), shown.decode().replace("\r\n", "\n")


def both(blog: Blog, *words: str, **variables: str) -> list[tuple[int, str]]:
    """Do both at once."""
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(run, blog, words, **variables) for run in (in_pipe, at_terminal)]
        return [run.result() for run in runs]


def obeyed(shown: str) -> set[str]:
    """Return what a terminal would obey, but for colours of ours."""
    assert BLINK not in shown
    kept = "\n\t\u200c\u200d"
    text = _OURS.sub("", shown)
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {repr(one) for one in text if one not in kept and unicodedata.category(one) in bad}


COMMANDS: list[tuple[tuple[str, ...], int, str]] = [
    (("ps",), 0, "odd-"),
    (("ps", "--json"), 0, "odd-0"),
    (("logs", "posts"), 0, "posts-1 | \\u001b[31;5m"),
    (("events",), 0, "\\u001b[31;5m"),
    (("events", "--key", HOSTILE), 0, "blog.Odd"),
    (("events", "--type", HOSTILE), 0, ""),
    (("dead-letters", "list"), 0, "\\u202eevil"),
    (("dead-letters", "list", "--json"), 0, "\\u202eevil"),
    (("dead-letters", "show", "{letter}"), 0, "\\u202eevil"),
    (("dead-letters", "show", HOSTILE), 2, "blog: "),
    (("dead-letters", "redrive", HOSTILE.replace("/", "")), 2, "blog: "),
    (("settings",), 0, "BLOG_NAME"),
    (("schedule",), 0, "not applied"),
    (("scale", f"{HOSTILE}=1"), 2, "blog: "),
    (("scale", HOSTILE), 2, "blog: "),
    (("rollout", HOSTILE), 2, "blog: "),
    (("posts", "delete", "--yes", HOSTILE), 1, "evil"),
    (("posts", "delete", "--yes", "--reason", HOSTILE, "a"), 2, "Error"),
    (("healthcheck",), 0, "posts-"),
    (("log", "verify", f"{HOSTILE.replace('/', '')}.db"), 2, "evil"),
    (("log", "restore", f"{HOSTILE.replace('/', '')}.db"), 2, "evil"),
    (("up", "--scale", f"{HOSTILE}=1"), 2, "blog: "),
    ((HOSTILE,), 2, "evil"),
    ((f"--{HOSTILE}",), 2, "evil"),
    (("posts", HOSTILE), 2, "evil"),
]


@pytest.mark.parametrize(
    ("words", "code", "shows"),
    COMMANDS,
    ids=[
        " ".join(words[:2]).replace("\x1b", "")[:24] + f" {i}" for i, (words, _, _) in enumerate(COMMANDS)
    ],
)
def test_no_command_prints_what_a_terminal_obeys(
    planted: Planted, letter: str, words: tuple[str, ...], code: int, shows: str
) -> None:
    """And each does what it does, with the exit code that it has."""
    planted.join()
    for returned, shown in both(
        planted.blog, *(letter if word == "{letter}" else word for word in words)
    ):
        assert obeyed(shown) == set()
        assert (returned, shows in shown) == (code, True), shown[-2000:]
        assert "Traceback" not in shown


@pytest.mark.parametrize(
    "name", ["BLOG_NAME", "BLOG_DATA_DIR", "BLOG_REGISTRY", "BLOG_HOST", "BLOG_LOG_LEVEL"]
)
def test_nor_what_a_setting_holds(planted: Planted, name: str) -> None:
    """Whichever command reads it first."""
    for command in ("settings", "events"):
        for _, shown in both(planted.blog, command, **{name: HOSTILE}):
            assert obeyed(shown) == set()


def test_every_row_is_there(planted: Planted) -> None:
    """Whatever its metadata."""
    planted.join()
    rows = {row["id"]: row for row in json.loads(planted.blog.cli("ps", "--json"))}
    assert set(planted.joined) <= rows.keys()
    assert {row["service"] for row in rows.values()} == {*SERVICES, "hostile"}
    assert all(type(row["pid"]) is int for row in rows.values())
    assert rows["odd-0"]["version"] == HOSTILE[:64]
    table = planted.blog.cli("ps")
    assert all(f"{name}-1" in table for name in SERVICES)


def test_programs_read_the_same_data(planted: Planted) -> None:
    """JSON is escaped, and nothing of it is lost."""
    events = [json.loads(line) for line in planted.blog.cli("events").splitlines()]
    [odd] = [event for event in events if event["id"] == HOSTILE]
    assert (odd["subject"], odd["data"]) == (HOSTILE, DATA)
    [letter] = json.loads(planted.blog.cli("dead-letters", "list", "--json"))
    assert letter["key"] == HOSTILE
    shown = json.loads(planted.blog.cli("dead-letters", "show", letter["id"]))
    assert shown["envelope"]["data"] == odd["data"]
    assert HOSTILE[:20] in shown["reason"]


def test_nor_do_logs_have_it(planted: Planted) -> None:
    """Those that our own processes wrote of what was planted, in files and in `blog up`'s own output."""
    logs = Path(planted.blog.folder, "data", "logs").glob("*.log")
    written = [planted.blog.said(), *(path.read_text() for path in logs if path.stem != "posts-1")]
    assert obeyed("".join(written)) == set()
    assert any("odd-" in text or "hostile" in text for text in written)


def test_the_gateway_and_the_bus_list_all(planted: Planted) -> None:
    """Their APIs too."""
    planted.join()
    for path in ("v1/services", "v1/prometheus", "v1/routes", "v1/stats", "metrics"):
        response = requests.get(f"{planted.blog.admin}/{path}", headers=planted.headers, timeout=10)
        assert response.status_code == 200
        if path in {"v1/services", "v1/prometheus"}:
            assert all(id_ in response.text for id_ in planted.joined)
    [bus] = planted.blog.ready("bus")
    for path in ("subscriptions", "dead-letters", "metrics"):
        response = requests.get(f"http://{bus['address']}/{path}", headers=planted.headers, timeout=10)
        assert response.status_code == 200
