"""`BLOG_TOKEN_FILE`: a token that no environment shows, for a master, its replicas and every command."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import requests

from blog.cli.commands import cli, main
from blog.cli.health import main as check
from blog.master.programs import defaults
from tests.e2e.conftest import Blog

FIRST, SECOND = "token-of-the-first-day", "token-of-the-second-day"
WORDS = {
    "logs": (), "ps": (), "up": (), "down": (), "settings": (), "schedule": (), "events": (),
    "scale": ("comments=1",), "rollout": ("comments",),
    "dead-letters list": (), "dead-letters show": ("x",), "dead-letters redrive": ("x",),
    "dead-letters discard": ("x",), "log verify": (), "log backup": ("copy.db",),
    "log restore": ("copy.db",), "log adopt": ("x",),
}  # fmt: skip
"""Arguments that a command needs."""
NO_TOKEN = {"healthcheck"}
"""What needs no token, whatever the variables hold: an engine asks whether the process lives."""


def leaves(group: click.Group, path: str = "") -> Iterator[str]:
    """Name every command, those of groups with the group before."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


COMMANDS = [*(name for name in leaves(cli) if name not in NO_TOKEN), *defaults(), "registry"]


def environ_of(pid: int) -> dict[str, str]:
    """Read the environment that a process was started with."""
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)


def status(blog: Blog, token: str) -> int:
    """Ask the registry with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{blog.admin}/v1/services", headers=headers, timeout=10).status_code


def test_a_blog_with_a_token_file_and_then_with_another(up: Callable[..., Blog], tmp_path: Path) -> None:
    """Replicas and workers have the token and not the file; after `blog down` another one holds."""
    file = tmp_path / "token"
    file.write_text(f"{FIRST}\n")
    blog = up(BLOG_TOKEN_FILE=str(file), BLOG_WORKERS="2")
    blog.wait_until_ready(gateway=1, bus=1, posts=1, comments=1, moderation=1, query=1, web=1)
    for row in blog.table():
        environ = environ_of(blog.pid(row))
        assert (environ["BLOG_TOKEN"], environ.get("BLOG_TOKEN_FILE")) == (FIRST, None)
    written = requests.post(f"{blog.url}/posts", json={"title": "Hello"}, timeout=10)
    assert written.status_code == 201
    for words in ("ps", "events", "dead-letters list", "scale comments=2", "log verify"):
        blog.cli(*words.split())
    assert "done" in blog.cli("posts", "delete", written.json()["id"], "--yes")
    assert (status(blog, FIRST), status(blog, SECOND)) == (200, 401)
    blog.cli("down")
    assert blog.process.wait(20) == 0
    file.write_text(SECOND)
    blog.start()
    blog.wait_until_ready(gateway=1, bus=1, posts=1)
    assert (status(blog, FIRST), status(blog, SECOND)) == (401, 200)


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Be in an empty folder, with no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BLOG_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "value"), [("BLOG_TOKEN", ""), ("BLOG_TOKEN_FILE", " "), ("BLOG_TOKEN_FILE", "empty")]
)
def test_an_empty_token_is_never_no_token(
    clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, name: str, value: str
) -> None:
    """One line and exit code 2, whatever is run and wherever it is empty; nothing begins."""
    Path("empty").write_text("\n")
    clean.setenv(name, value)
    clean.setattr(sys, "argv", ["blog", *command.split(), *WORDS.get(command, ())])
    assert main() == 2
    printed = capsys.readouterr()
    [line] = (printed.out + printed.err).splitlines()
    assert line.startswith(f"blog: {name}")
    assert "empty" in line
    assert not Path("data").exists()


@pytest.mark.parametrize("name", ["BLOG_TOKEN", "BLOG_TOKEN_FILE"])
def test_a_health_check_needs_no_token(
    clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It says what it finds, with a variable that is empty as well."""
    clean.setenv(name, "")
    assert check([]) == 1
    assert capsys.readouterr().out == "No instance runs here.\n"
