"""What README shows is true: its service runs, and its test of it passes."""

import os
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp.test_utils import TestClient

import blog.services
from blog.core.contract import Meta
from blog.core.decision import Unchanged
from blog.core.settings import Settings
from blog.master.programs import defaults
from blog.master.scaling.spec import read
from blog.testing.harness import GatewayTestServer, running_blog
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.engine import IMAGE

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def claps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save README's service as a folder of services."""
    folder = tmp_path / "services" / "claps"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Claps."""\n')
    (folder / "service.py").write_text(BLOCKS[0])
    monkeypatch.setattr(blog.services, "__path__", [*blog.services.__path__, str(folder.parent)])
    monkeypatch.delitem(sys.modules, "blog.services.claps.service", raising=False)


@pytest.mark.usefixtures("claps")
async def test_its_service_runs_and_its_test_passes(tmp_path: Path) -> None:
    """One new folder and no other edit: the gateway routes to it and it is scaled."""
    scope: dict[str, Any] = {}
    exec(BLOCKS[2], scope)  # noqa: S102 - README's own lines
    async with running_blog(tmp_path / "data") as running:
        client: TestClient[Any, Any] = TestClient(GatewayTestServer(running.url))
        async with client:
            await scope["test_claps_are_counted"](running, client)


@pytest.mark.usefixtures("claps")
def test_its_functions_can_be_called() -> None:
    """Given events, when a command, then these events."""
    scope: dict[str, Any] = {}
    exec(BLOCKS[1], scope)  # noqa: S102 - README's own lines
    scope["test_clapping"]()


@pytest.mark.usefixtures("claps")
def test_its_operator_command_stands_on_what_it_read() -> None:
    """Applause that comes meanwhile makes it decide again; where there is none, nothing is appended."""
    scope: dict[str, Any] = {"NOW": datetime.now(UTC), "meta": Meta("r", datetime.now(UTC))}
    lines = """
from blog.services.claps.service import *
from blog.testing.given import given
post = PostCreated(id="p1", title="Hello", created_at=NOW)
some, none = given(ClapsView, post, Clapped(id="c", post_id="p1", times=2)), given(ClapsView, post)
taken_back, left = reset("p1", some, meta), reset("p1", none, meta)
"""
    exec(lines, scope)  # noqa: S102 - on README's own lines
    taken_back = scope["taken_back"]
    assert [event.times for event in taken_back.events] == [-2]
    assert (taken_back.expect, taken_back.types) == (2, (scope["Clapped"],))
    assert scope["left"] == Unchanged()


def test_its_blog_toml_can_be_read(tmp_path: Path) -> None:
    """Word by word."""
    [text] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "blog.toml").write_text(text)
    comments = read(tmp_path / "blog.toml", defaults())["comments"]
    assert comments.replicas == 2
    assert comments.autoscale is not None
    assert len(comments.schedule) == 2


def lines_of_containers() -> list[str]:
    """Return README's blocks that run a whole blog, line by line: with a token first."""
    return [
        block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) if "blog $service" in block
    ]


def test_its_lines_of_containers_start_every_service() -> None:
    """A new service has to be named here too. Both forms are the same but for two words, the token."""
    with_token, without = lines_of_containers()
    for block in (with_token, without):
        loop = re.search(r"for service in ([a-z ]+); do docker run -d --network blog ", block)
        assert loop
        assert {*loop[1].split(), "gateway"} == set(defaults())
    [export] = [line for line in with_token.splitlines() if line.startswith("export BLOG_TOKEN=")]
    assert with_token.replace(" -e BLOG_TOKEN", "").replace(export + "\n", "") == without
    assert with_token.count(" -e BLOG_TOKEN ") == 2


@pytest.mark.timeout(300)
def test_its_lines_of_containers_run(client: Any) -> None:
    """Typed into a shell, with names and a port of their own: a post and a comment get through.

    Those without a token are the same but for it, and what `test_image_access.py` runs.
    """
    name, port = f"readme-{uuid.uuid4().hex[:8]}", free_port()
    script = lines_of_containers()[0]
    for theirs, ours in (
        ("docker build -t blog .\n", ""),
        ("network create blog", f"network create {name}"),
        ("--network blog --name gateway", f"--network {name} --name {name} --network-alias gateway"),
        ("--network blog", f"--network {name}"),
        ("8080:8080", f"127.0.0.1:{port}:8080"),
        (" blog gateway", f" {IMAGE} gateway"),
        ("blog $service", f"{IMAGE} $service"),
    ):
        assert theirs in script
        script = script.replace(theirs, ours)
    try:
        environ = {name: value for name, value in os.environ.items() if name != "BLOG_TOKEN"}
        subprocess.run(["sh", "-ec", script], env=environ, check=True, timeout=100)
        url = f"http://127.0.0.1:{port}"
        post = wait_until(lambda: written(f"{url}/posts", {"title": "Hello"}), 60)
        wait_until(lambda: written(f"{url}/posts/{post}/comments", {"content": "x"}), 60)
        wait_until(lambda: shown(f"{url}/posts/{post}") == ["approved"], 60)
        wait_until(lambda: requests.get(url, timeout=10).status_code == 200, 60)
    finally:
        made = [
            container
            for filters in ({"network": name}, {"name": name})
            for container in client.containers.list(all=True, filters=filters)
        ]
        for container in {container.id: container for container in made}.values():
            container.remove(force=True, v=True)
        for network in client.networks.list(names=[name]):
            network.remove()


def written(url: str, body: dict[str, str]) -> str | None:
    """Write something; return its id, None while nobody takes it."""
    try:
        response = requests.post(url, json=body, timeout=10)
    except requests.ConnectionError:
        return None
    return str(response.json()["id"]) if response.status_code == 201 else None


def shown(url: str) -> list[str]:
    """Return what became of a post's comments; nothing while it is not shown."""
    response = requests.get(url, timeout=10)
    return [comment["status"] for comment in response.json()["comments"]] if response.ok else []


def test_its_table_of_settings_is_complete() -> None:
    """Every variable is named."""
    for name in Settings.model_fields:
        assert f"BLOG_{name.upper()}" in README
